//! What may be an `acr`, an `amr` or a scope.

use crate::error::ConfigError;

/// A list of words as it was given, without repetitions.
pub(super) fn list(
    what: &str,
    words: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Vec<String>, ConfigError> {
    let mut list: Vec<String> = Vec::new();
    for word in words {
        let word = word.into();
        check(what, &word)?;
        add(&mut list, word);
    }
    if list.is_empty() {
        return Err(ConfigError::new(format!(
            "the list of {what} values is empty, which no token can satisfy: name at least one, or leave the condition out"
        )));
    }
    Ok(list)
}

pub(super) fn add(list: &mut Vec<String>, word: String) {
    if !list.contains(&word) {
        list.push(word);
    }
}

/// The grammar of `scope-token` (RFC 6749 section 3.3), for all of them: they are written into a space-separated list in a quoted
/// string, and a value with a space in it is most likely a list that was not taken apart.
fn check(what: &str, word: &str) -> Result<(), ConfigError> {
    let fits = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if fits {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{word:?} is no {what} value: give one value of printable ASCII without spaces, quotes and backslashes, and several values as several items"
    )))
}
