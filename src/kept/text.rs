//! The text of a head: how it is written into a buffer, and what is read from there.

use http::header::{AUTHORIZATION, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, uri};

/// Why a head was not copied.
pub(super) enum NotCopied {
    NoRoom,
    Upgrade,
}

#[derive(Default)]
pub(super) struct UriLengths {
    pub(super) scheme: usize,
    pub(super) authority: usize,
    pub(super) path: usize,
}

/// Scheme, authority, path and query.
#[inline]
pub(super) fn uri_parts(uri: &Uri) -> [&[u8]; 3] {
    [
        uri.scheme_str().unwrap_or_default().as_bytes(),
        uri.authority().map_or("", Authority::as_str).as_bytes(),
        uri.path_and_query()
            .map_or("", PathAndQuery::as_str)
            .as_bytes(),
    ]
}

/// Copies a head, and tells how much room is left.
#[inline(never)]
pub(super) fn copy_head(
    to: &mut [u8],
    lengths: &mut UriLengths,
    uri: &Uri,
    headers: &HeaderMap,
    mut is_elevated: bool,
) -> Result<usize, NotCopied> {
    let mut to = Writer(to);
    let [scheme, authority, path] = uri_parts(uri);
    *lengths = UriLengths {
        scheme: scheme.len(),
        authority: authority.len(),
        path: path.len(),
    };
    to.put(scheme)?;
    to.put(authority)?;
    to.put(path)?;
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        let mut value_text = value.as_bytes();
        let mut lengths = Lengths::new(name.len(), value_text.len(), value.is_sensitive());
        // a length is compared sooner than a text
        if name.len() == UPGRADE_LENGTH && name == UPGRADE.as_str().as_bytes() {
            return Err(NotCopied::Upgrade);
        }
        if name.len() == AUTHORIZATION_LENGTH
            && is_elevated
            && name == AUTHORIZATION.as_str().as_bytes()
        {
            is_elevated = false;
            value_text = &[];
            lengths = Lengths::new(name.len(), NOT_COPIED, false);
        }
        to.put_lengths(&lengths)?;
        to.put(name)?;
        to.put(value_text)?;
    }
    Ok(to.0.len())
}

pub(super) fn restore_uri(scheme: &[u8], authority: &[u8], path: &[u8]) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    if !scheme.is_empty() {
        parts.scheme = Some(Scheme::try_from(scheme).ok()?);
    }
    if !authority.is_empty() {
        parts.authority = Some(Authority::try_from(authority).ok()?);
    }
    if !path.is_empty() {
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    }
    Uri::from_parts(parts).ok()
}

/// In place of the length of a value that was not copied; longer than any.
const NOT_COPIED: usize = 0x7fff;
const UPGRADE_LENGTH: usize = "upgrade".len();
const AUTHORIZATION_LENGTH: usize = "authorization".len();

/// The length of a header's name, that of its value, and whether it is sensitive. Each is less than [`MAX_TEXT`](super::MAX_TEXT), or the header
/// is not copied.
pub(super) struct Lengths(u32);

impl Lengths {
    pub(super) const SIZE: usize = size_of::<u32>();

    fn new(name: usize, value: usize, is_sensitive: bool) -> Self {
        Self(name as u32 | (value as u32) << 16 | u32::from(is_sensitive) << 31)
    }

    pub(super) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    pub(super) fn name(&self) -> usize {
        (self.0 & 0xffff) as usize
    }

    pub(super) fn value(&self) -> Option<usize> {
        let length = (self.0 >> 16 & 0x7fff) as usize;
        (length != NOT_COPIED).then_some(length)
    }

    pub(super) fn is_sensitive(&self) -> bool {
        self.0 >> 31 == 1
    }
}

/// The room that is left in a buffer.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    #[inline]
    fn put_lengths(&mut self, lengths: &Lengths) -> Result<(), NotCopied> {
        let room = self.0.split_off_mut(..Lengths::SIZE);
        room.ok_or(NotCopied::NoRoom)?
            .copy_from_slice(&lengths.0.to_ne_bytes());
        Ok(())
    }

    #[inline]
    fn put(&mut self, text: &[u8]) -> Result<(), NotCopied> {
        let room = self.0.split_off_mut(..text.len());
        copy(room.ok_or(NotCopied::NoRoom)?, text);
        Ok(())
    }
}

/// What is left of a text to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// `to.copy_from_slice(from)`, without the call of a function for the lengths that names and values mostly have.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    let is_copied = match from.len() {
        16..=32 => copy_ends::<16>(to, from),
        8..16 => copy_ends::<8>(to, from),
        4..8 => copy_ends::<4>(to, from),
        _ => false,
    };
    if !is_copied {
        to.copy_from_slice(from);
    }
}

/// Copies what is at least `N` bytes and at most twice as many: its two ends, which may overlap.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else {
        return false;
    };
    let Some(to_first) = to.first_chunk_mut::<N>() else {
        return false;
    };
    *to_first = *first;
    let Some(to_last) = to.last_chunk_mut::<N>() else {
        return false;
    };
    *to_last = *last;
    true
}
