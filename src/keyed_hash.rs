//! [`KeyedHash`]: finds what belongs to a token, or to a principal, at a tenth of the cost of SipHash.

use std::hash::{BuildHasher, Hasher, RandomState};

/// How much of an end counts: 32 characters of base64url are 24 bytes of a token's signature.
const END: usize = 32;
const WORD: usize = size_of::<u64>();

/// A hash of the ends of a text, under keys that nobody knows: so that nobody can make up many texts of one hash.
///
/// Its products are no cryptographic hash, and need not be: nobody sees a hash, and whoever looks for something by it compares the whole
/// text with what is found.
pub(crate) struct KeyedHash {
    keys: [u64; END / WORD + 1],
}

impl KeyedHash {
    pub(crate) fn new() -> Self {
        Self {
            keys: std::array::from_fn(|_| RandomState::new().hash_one(0)),
        }
    }

    /// The hash of a text's end: enough for a token, whose end is its signature.
    #[cfg(feature = "guard")]
    #[inline]
    pub(crate) fn of_end(&self, text: &[u8]) -> u64 {
        let [.., last] = self.keys;
        fold(self.of_block(text.last_chunk(), text), last)
    }

    /// The hash of both ends of a text and of its length: for principals, many of which may begin or end alike.
    #[inline]
    pub(crate) fn of_ends(&self, text: &[u8]) -> u64 {
        let [.., last] = self.keys;
        let first = self.of_block(text.first_chunk(), text) ^ last;
        fold(
            first,
            self.of_block(text.last_chunk(), text) ^ text.len() as u64,
        )
    }

    /// The hash of an end, or of a text that is shorter.
    #[inline]
    fn of_block(&self, end: Option<&[u8; END]>, text: &[u8]) -> u64 {
        let block = end.copied().unwrap_or_else(|| {
            let mut block = [0; END];
            for (to, from) in block.iter_mut().zip(text) {
                *to = *from;
            }
            block
        });
        let word = |at: usize| {
            let mut word = [0; WORD];
            word.copy_from_slice(&block[at * WORD..][..WORD]);
            u64::from_le_bytes(word)
        };
        let [a, b, c, d, _] = self.keys;
        fold(word(0) ^ a, word(1) ^ b) ^ fold(word(2) ^ c, word(3) ^ d)
    }
}

/// Both halves of a product: every bit of the factors bears on them.
const fn fold(one: u64, other: u64) -> u64 {
    let product = one as u128 * other as u128;
    (product >> 64) as u64 ^ product as u64
}

/// A hash map's hasher for keys that are hashes already.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        // not used: the keys are `u64`
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Longer than both ends together.
    fn text() -> Vec<u8> {
        (0..2 * END as u8 + 10).collect()
    }

    fn changed() -> impl Iterator<Item = (usize, Vec<u8>)> {
        (0..text().len()).flat_map(|at| {
            (0..8).map(move |bit| {
                let mut other = text();
                other[at] ^= 1 << bit;
                (at, other)
            })
        })
    }

    #[cfg(feature = "guard")]
    #[test]
    fn all_of_the_end_counts_and_nothing_else() {
        let hash = KeyedHash::new();
        for (at, other) in changed() {
            let is_in_end = at >= text().len() - END;
            assert_eq!(
                hash.of_end(&other) != hash.of_end(&text()),
                is_in_end,
                "{at}"
            );
        }
        assert_eq!(hash.of_end(&text()), hash.of_end(&text()[1..]));
    }

    #[test]
    fn all_of_both_ends_counts_and_the_length() {
        let hash = KeyedHash::new();
        for (at, other) in changed() {
            let is_in_end = at < END || at >= text().len() - END;
            assert_eq!(
                hash.of_ends(&other) != hash.of_ends(&text()),
                is_in_end,
                "{at}"
            );
        }
        let alike = [b'x'; 3 * END];
        let hashes = (0..alike.len()).map(|length| hash.of_ends(&alike[..length]));
        assert_eq!(hashes.collect::<HashSet<_>>().len(), alike.len());
    }

    #[cfg(feature = "guard")]
    #[test]
    fn short_texts_have_hashes_too() {
        let hash = KeyedHash::new();
        let text = [b'x'; END];
        let hashes = (0..=END).map(|length| hash.of_end(&text[..length]));
        assert_eq!(hashes.collect::<HashSet<_>>().len(), END + 1);
    }

    #[test]
    fn two_processes_do_not_agree() {
        let one = KeyedHash::new().of_ends(b"token");
        assert_ne!(one, KeyedHash::new().of_ends(b"token"));
    }

    /// As evenly as by the standard library's hash: all the bits that shards and tables use.
    #[test]
    fn texts_are_spread_as_by_siphash() {
        const TEXTS: u64 = 64 * 1024;
        const SLOTS: usize = 256;
        let (hash, sip) = (KeyedHash::new(), RandomState::new());
        let text = |number: u64| format!("header.claims.signature-{number:09}").into_bytes();
        let worst = |shift: u32, hash: &dyn Fn(&[u8]) -> u64| {
            let mut slots = [0_u32; SLOTS];
            for number in 0..TEXTS {
                slots[(hash(&text(number)) >> shift) as usize % SLOTS] += 1;
            }
            slots.into_iter().max().unwrap_or_default()
        };
        for shift in [0, 8, 16, 40, 56] {
            let theirs = worst(shift, &|text| sip.hash_one(text));
            // 256 on average; all are near 310
            assert!(worst(shift, &|text| hash.of_ends(text)) < 2 * theirs);
            #[cfg(feature = "guard")]
            assert!(worst(shift, &|text| hash.of_end(text)) < 2 * theirs);
        }
    }
}
