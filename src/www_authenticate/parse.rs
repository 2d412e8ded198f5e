//! [`parse`]: reads the header in one pass, without ever looking back further than the start of a word.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use crate::www_authenticate::Challenge;
use crate::www_authenticate::challenge::is_token_byte;

/// All field lines together. Twice what servers let a whole request header have; challenges have a few hundred bytes.
const MAX_LENGTH: usize = 16 * 1024;

/// Of all field lines together, those counted that are given up.
const MAX_CHALLENGES: usize = 32;

/// Of one challenge. It also bounds the search for a repeated name.
const MAX_PARAMETERS: usize = 32;

/// Reads all challenges of all `WWW-Authenticate` field lines, in their order.
///
/// It keeps to the grammar of RFC 9110 section 11, with one exception: parameters may follow one another without a comma, since
/// there are servers that write them so and it cannot mean anything else. What does not fit is left out, never guessed at:
///
/// * Where a field line breaks the grammar, the challenge before or around the break is lost, and all that comes after it in
///   this line. Challenges that another one had ended before, and other field lines, are not.
/// * A challenge with a repeated parameter is lost: nobody knows which one is meant.
/// * Of headers with more than 16 KiB or 32 challenges in all, or 32 parameters in one challenge, nothing is read.
///
/// Bytes in a quoted string that are not UTF-8 are read as U+FFFD.
#[must_use]
pub fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE);
    // with a comma each, as if they were one line
    let length: usize = lines.iter().map(|line| line.len() + 1).sum();
    if length > MAX_LENGTH {
        return Vec::new();
    }
    let mut challenges = Challenges::default();
    for line in lines {
        if let Err(Stop::TooMany) = challenges.read_line(Rest(line.as_bytes())) {
            return Vec::new();
        }
    }
    challenges.usable
}

#[derive(Default)]
struct Challenges {
    usable: Vec<Challenge>,
    begun: usize,
}

/// A challenge that may go on.
struct Open {
    scheme: String,
    details: Details,
    is_ambiguous: bool,
}

enum Details {
    /// Without the space that parameters need before them.
    Bare,
    Parameters(Vec<(String, String)>),
    Token68(String),
}

enum Stop {
    Malformed,
    TooMany,
}

/// What is between two words.
#[derive(PartialEq, Eq)]
enum Gap {
    Comma,
    Nothing,
    Space,
}

impl Challenges {
    fn read_line(&mut self, mut rest: Rest<'_>) -> Result<(), Stop> {
        let mut open: Option<Open> = None;
        loop {
            let gap = rest.skip_gap();
            if rest.0.is_empty() {
                self.usable.extend(open.and_then(Open::close));
                return Ok(());
            }
            let word = rest.token().ok_or(Stop::Malformed)?;
            if let Some(value) = rest.value()? {
                let open = open.as_mut().filter(|_| gap != Gap::Nothing);
                open.ok_or(Stop::Malformed)?.push(word, value)?;
                continue;
            }
            if open.is_some() && gap != Gap::Comma {
                return Err(Stop::Malformed);
            }
            self.usable.extend(open.take().and_then(Open::close));
            self.begun += 1;
            if self.begun > MAX_CHALLENGES {
                return Err(Stop::TooMany);
            }
            open = Some(Open {
                scheme: word,
                details: rest.details(),
                is_ambiguous: false,
            });
        }
    }
}

impl Open {
    fn push(&mut self, name: String, value: String) -> Result<(), Stop> {
        let Details::Parameters(parameters) = &mut self.details else {
            return Err(Stop::Malformed);
        };
        if parameters.len() == MAX_PARAMETERS {
            return Err(Stop::TooMany);
        }
        self.is_ambiguous |= parameters
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(&name));
        parameters.push((name, value));
        Ok(())
    }

    fn close(self) -> Option<Challenge> {
        let challenge = match self.details {
            Details::Bare => Challenge::bare(self.scheme),
            Details::Parameters(parameters) => Challenge::with_parameters(self.scheme, parameters),
            Details::Token68(token) => Challenge::with_token68(self.scheme, token),
        };
        (!self.is_ambiguous).then_some(challenge)
    }
}

/// What is left of a field line.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Skips white space and commas: lists may have empty elements (RFC 9110 section 5.6.1.2).
    fn skip_gap(&mut self) -> Gap {
        let gap = self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
        if gap.contains(&b',') {
            Gap::Comma
        } else if gap.is_empty() {
            Gap::Nothing
        } else {
            Gap::Space
        }
    }

    fn token(&mut self) -> Option<String> {
        let token = self.take_while(is_token_byte);
        (!token.is_empty()).then(|| text(token))
    }

    /// What comes after a scheme.
    fn details(&mut self) -> Details {
        if !self.0.starts_with(b" ") {
            return Details::Bare;
        }
        match self.token68() {
            Some(token) => Details::Token68(token),
            None => Details::Parameters(Vec::new()),
        }
    }

    /// A token68 is one only if nothing else follows: `error=` is, `error="` and `error= x` are the beginning of a parameter.
    fn token68(&mut self) -> Option<String> {
        let mut ahead = *self;
        ahead.skip_space();
        let start = ahead.0;
        let length = ahead.take_while(is_token68_byte).len();
        if length == 0 {
            return None;
        }
        let padding = ahead.take_while(|byte| byte == b'=').len();
        let mut after = ahead;
        after.skip_space();
        if !matches!(after.0.first(), None | Some(b',')) {
            return None;
        }
        *self = ahead;
        start.get(..length + padding).map(text)
    }

    /// The value of a parameter whose name was just read, if it was one.
    fn value(&mut self) -> Result<Option<String>, Stop> {
        let mut ahead = *self;
        ahead.skip_space();
        if !ahead.skip(b'=') {
            return Ok(None);
        }
        ahead.skip_space();
        *self = ahead;
        let value = if self.skip(b'"') {
            self.rest_of_quoted_string()
        } else {
            self.token()
        };
        value.map(Some).ok_or(Stop::Malformed)
    }

    fn rest_of_quoted_string(&mut self) -> Option<String> {
        let mut value = Vec::new();
        loop {
            value.extend_from_slice(
                self.take_while(|byte| is_text(byte) && !matches!(byte, b'"' | b'\\')),
            );
            if self.skip(b'"') {
                return Some(text(&value));
            }
            if !self.skip(b'\\') {
                return None;
            }
            let (escaped, after) = self.0.split_first()?;
            if !is_text(*escaped) {
                return None;
            }
            value.push(*escaped);
            self.0 = after;
        }
    }

    fn skip_space(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, after)) if *first == byte => {
                self.0 = after;
                true
            }
            _ => false,
        }
    }

    fn take_while(&mut self, is_in: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is_in(*byte));
        let (taken, after) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = after;
        taken
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Of a quoted string, escaped or not (RFC 9110 section 5.6.4).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 section 11.2.
fn is_token68_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}
