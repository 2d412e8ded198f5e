//! `WWW-Authenticate` is read by its grammar: what is quoted is never taken for more, and what breaks the grammar never for a
//! challenge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tokio::time::Instant;
use tower_mfa::www_authenticate::{Challenge, parse};

const KIB: usize = 1024;

fn headers<const N: usize>(lines: [&str; N]) -> HeaderMap {
    let line = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
    lines
        .into_iter()
        .map(|text| (WWW_AUTHENTICATE, line(text)))
        .collect()
}

/// Challenges in a notation that is easy to compare: `scheme|token68` or `scheme|name>value|name>value`.
fn read<const N: usize>(lines: [&str; N]) -> Vec<String> {
    parse(&headers(lines)).iter().map(shown).collect()
}

fn shown(challenge: &Challenge) -> String {
    let mut text = challenge.scheme().to_owned();
    if let Some(token) = challenge.token68() {
        text = format!("{text}|{token}");
    }
    for (name, value) in challenge.parameters() {
        text = format!("{text}|{name}>{value}");
    }
    text
}

const NOTHING: [&str; 0] = [];

// ===== cases that break real parsers =====

#[test]
fn a_quoted_and_an_unquoted_max_age_are_the_same() {
    for line in [
        r#"Bearer error="e", max_age="5""#,
        r#"Bearer error="e", max_age=5"#,
        "Bearer error = e ,\tmax_age\t=\t5",
    ] {
        assert_eq!(read([line]), ["Bearer|error>e|max_age>5"], "{line}");
    }
}

#[test]
fn two_challenges_in_one_line_are_two() {
    assert_eq!(
        read([r#"Basic realm="x", Bearer error="e", scope="a b""#]),
        ["Basic|realm>x", "Bearer|error>e|scope>a b"]
    );
    assert_eq!(
        read([r#"Bearer error="e", DPoP, Basic realm="x""#]),
        ["Bearer|error>e", "DPoP", "Basic|realm>x"]
    );
}

#[test]
fn two_field_lines_are_two_challenges() {
    assert_eq!(
        read([r#"Basic realm="x""#, r#"Bearer error="e""#]),
        ["Basic|realm>x", "Bearer|error>e"]
    );
    // a line of its own goes on with nobody's challenge
    assert_eq!(read(["Bearer error=e", "scope=a"]), ["Bearer|error>e"]);
}

#[test]
fn commas_and_escaped_quotes_inside_a_quoted_string_are_text() {
    assert_eq!(
        read([r#"Bearer error_description="a, \"b\", Basic realm=\"c\" \\", error="e""#]),
        [r#"Bearer|error_description>a, "b", Basic realm="c" \|error>e"#]
    );
    assert_eq!(read([r#"Bearer a="\b\,""#]), ["Bearer|a>b,"]);
}

#[test]
fn an_error_inside_the_text_of_another_parameter_is_none() {
    for line in [
        r#"Bearer error_description="error=\"e\"""#,
        r#"Bearer realm="x, error=e""#,
        r#"Basic realm=", Bearer error=e""#,
        r#"Bearer x_error="e", error_uri="error=e""#,
    ] {
        let challenges = parse(&headers([line]));
        assert_eq!(challenges.len(), 1, "{line}");
        assert_eq!(challenges[0].parameter("error"), None, "{line}");
    }
}

#[test]
fn unknown_parameters_are_kept() {
    assert_eq!(
        read([r#"Bearer error=e, x-trace!=7, resource_metadata="https://x/?a=b""#]),
        ["Bearer|error>e|x-trace!>7|resource_metadata>https://x/?a=b"]
    );
}

#[test]
fn parameters_without_commas_between_them_are_parameters() {
    assert_eq!(
        read([r#"Bearer error="e" scope="a b" max_age=5, x="y" z=1"#]),
        ["Bearer|error>e|scope>a b|max_age>5|x>y|z>1"]
    );
    // but not without anything, and challenges need their comma
    for line in [
        r#"Bearer error="e"scope="a""#,
        r#"Bearer error="e" Basic realm="x""#,
        "Bearer scope=a b",
    ] {
        assert_eq!(read([line]), NOTHING, "{line}");
    }
}

#[test]
fn a_token68_is_no_parameter() {
    assert_eq!(
        read(["Negotiate YII=, Bearer error=e, Basic  a+/-._~==  ,NTLM"]),
        [
            "Negotiate|YII=",
            "Bearer|error>e",
            "Basic|a+/-._~==",
            "NTLM"
        ]
    );
    // it has the whole challenge to itself
    assert_eq!(read(["Negotiate YII=, error=e"]), NOTHING);
    assert_eq!(read(["Negotiate YII= error=e"]), NOTHING);
    assert_eq!(read(["Bearer error="]), ["Bearer|error="]);
}

#[test]
fn base64_in_a_quoted_claims_value_is_kept() {
    assert_eq!(
        read([r#"Bearer claims="eyJhIjoxfQ==", error="e""#]),
        ["Bearer|claims>eyJhIjoxfQ==|error>e"]
    );
    // without quotes the padding is outside the grammar
    assert_eq!(read(["Bearer claims=eyJhIjoxfQ==, error=e"]), NOTHING);
}

#[test]
fn empty_values_are_kept_as_they_are() {
    assert_eq!(
        read([r#"Bearer error="e", max_age="", acr_values="""#]),
        ["Bearer|error>e|max_age>|acr_values>"]
    );
}

#[test]
fn a_header_of_64_kib_is_nothing_and_takes_no_time() {
    let long = "x".repeat(64 * KIB);
    let texts = [
        format!(r#"Bearer error="e", x="{long}""#),
        format!(r#"Bearer error="e", x="{}""#, r"\\".repeat(32 * KIB)),
        format!("Bearer {}", "a=b, ".repeat(13 * KIB)),
        format!("Bearer {}", "a=b ".repeat(16 * KIB)),
        format!("Bearer {}", "=".repeat(64 * KIB)),
        "Bearer, ".repeat(8 * KIB),
        ",".repeat(64 * KIB),
        " ".repeat(64 * KIB),
        "\"".repeat(64 * KIB),
    ];
    let start = Instant::now();
    for text in &texts {
        assert_eq!(read([text]), NOTHING);
        // it is the sum that counts
        let parts = [text.get(..8 * KIB).unwrap(); 8];
        assert_eq!(read(parts), NOTHING);
    }
    // as much as is read, so often that anything quadratic would take half a minute
    for text in &texts {
        let headers = headers([text.get(..16 * KIB - 1).unwrap()]);
        for _ in 0..50 {
            assert!(parse(&headers).len() <= 32);
        }
    }
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

// ===== the rest of the grammar =====

#[test]
fn empty_elements_of_lists_are_nothing() {
    for line in [
        "Bearer error=e,scope=a",
        ", ,Bearer error=e,, ,scope=a , ",
        "Bearer ,error=e, scope=a",
        "Bearer  , \t error=e, scope=a",
    ] {
        assert_eq!(read([line]), ["Bearer|error>e|scope>a"], "{line}");
    }
    for line in ["", " ", ",", " , ,"] {
        assert_eq!(read([line]), NOTHING, "{line:?}");
    }
    assert_eq!(parse(&HeaderMap::new()), []);
}

#[test]
fn schemes_and_names_are_compared_in_whatever_case() {
    let challenges = parse(&headers(["bEARER ERROR=e"]));
    let challenge = &challenges[0];
    assert!(challenge.is_scheme("Bearer") && !challenge.is_scheme("Bear"));
    assert_eq!(challenge.scheme(), "bEARER");
    assert_eq!(challenge.parameter("error"), Some("e"));
    assert_eq!(challenge.token68(), None);
}

#[test]
fn a_break_takes_the_challenge_it_is_in_and_the_rest_of_the_line() {
    for broken in [
        r#"Bearer error="e"#,
        r#"Bearer error="e\"#,
        r#"Bearer error="e" ;x"#,
        r#"Bearer error="e", "x""#,
        "Bearer error=e=f",
        "Bearer error=, scope=a",
        "Bearer error==e",
        "Bearer error=e, =f",
        "Bearer a b",
        "Bearer\terror=e",
        "Bearer, error=e",
        "error=e",
        "=",
        "\u{e4}",
    ] {
        assert_eq!(read([broken]), NOTHING, "{broken}");
        // nor is there anything of it in a line with others, whatever becomes of those
        let amid = read([&format!("Basic realm=x, {broken}, Digest x=y")]);
        let is_of_it = |challenge: &String| challenge.starts_with("Bearer");
        assert!(!amid.iter().any(is_of_it), "{broken}: {amid:?}");
        // other lines stay
        assert_eq!(read([broken, "DPoP error=e"]), ["DPoP|error>e"], "{broken}");
    }
    assert_eq!(
        read([r#"Basic realm="x", Bearer error="e, Digest x=y"#]),
        ["Basic|realm>x"]
    );
}

#[test]
fn a_challenge_with_a_repeated_parameter_is_lost_and_the_next_is_not() {
    for line in [
        "Bearer error=e, error=f, Basic realm=x",
        "Bearer error=e, ERROR=e, Basic realm=x",
        "Bearer error=e scope=a error=e, Basic realm=x",
    ] {
        assert_eq!(read([line]), ["Basic|realm>x"], "{line}");
    }
}

#[test]
fn text_that_is_not_ascii_is_kept_and_other_bytes_are_replaced() {
    assert_eq!(read(["Bearer a=\"\u{e4}\""]), ["Bearer|a>\u{e4}"]);
    let line = HeaderValue::from_bytes(b"Bearer error=e, a=\"\xe4\"").unwrap();
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, line)]);
    assert_eq!(shown(&parse(&headers)[0]), "Bearer|error>e|a>\u{fffd}");
}

#[test]
fn up_to_the_limits_all_is_read_and_beyond_them_nothing() {
    let parameters = |count: usize| -> String {
        let list: Vec<String> = (0..count).map(|number| format!("p{number}=x")).collect();
        format!("Basic realm=x, Bearer {}", list.join(", "))
    };
    assert_eq!(read([&parameters(32)]).len(), 2);
    assert_eq!(read([&parameters(33)]), NOTHING);

    let challenges = |count| vec!["Basic a=b"; count].join(", ");
    assert_eq!(read([&challenges(32)]).len(), 32);
    assert_eq!(read([&challenges(33)]), NOTHING);
    assert_eq!(read([&challenges(32), "Bearer"]), NOTHING);
    // those that are given up count, too
    assert_eq!(read([&challenges(31), "x", "Bearer a b"]), NOTHING);

    let long = |length| format!("Bearer {}", "x".repeat(length - 8));
    assert_eq!(read([&long(16 * KIB)]).len(), 1);
    assert_eq!(read([&long(16 * KIB + 1)]), NOTHING);
}

// ===== writing =====

#[test]
fn a_challenge_is_written_with_quotes_and_escapes() {
    assert_eq!(Challenge::bearer().to_header_value(), "Bearer");
    let challenge = Challenge::new("DPoP")
        .unwrap()
        .with_parameter("error", "e")
        .unwrap()
        .with_parameter("error_description", r#"say "a", not \"#)
        .unwrap()
        .with_parameter("scope", "")
        .unwrap();
    assert_eq!(
        challenge.to_header_value(),
        r#"DPoP error="e", error_description="say \"a\", not \\", scope="""#
    );
}

#[test]
fn what_cannot_be_written_is_an_error() {
    for scheme in ["", "Bea rer", "Bearer,", "B\u{e4}rer", "Bearer\r\n", "a=b"] {
        let error = Challenge::new(scheme).unwrap_err().to_string();
        assert!(error.contains("authentication scheme"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for name in ["", "a b", "a=", "\"a\"", "a\r\nset-cookie: b"] {
        let error = Challenge::bearer().with_parameter(name, "x").unwrap_err();
        assert!(error.to_string().contains("not a token"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for value in ["\r\nset-cookie: a=b", "a\nb", "\0", "\t", "\x7f", "\u{e4}"] {
        let error = Challenge::bearer().with_parameter("a", value).unwrap_err();
        assert!(error.to_string().contains("printable ASCII"), "{error}");
    }
    let once = Challenge::bearer().with_parameter("error", "e").unwrap();
    assert!(once.with_parameter("Error", "e").is_err());
    let token68 = parse(&headers(["Basic abc="])).remove(0);
    assert!(token68.with_parameter("a", "b").is_err());
}

/// What may be in a challenge that is written here.
fn challenges() -> impl Strategy<Value = Challenge> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}";
    // by its name in lower case, so that none is repeated
    let parameters = btree_map("[!#$%&'*+.^_`|~0-9a-z-]{1,8}", "[ -~]{0,24}", 0..8);
    (name, parameters).prop_map(|(scheme, parameters)| {
        let start = Challenge::new(scheme).unwrap();
        parameters
            .into_iter()
            .fold(start, |challenge, (name, value)| {
                challenge.with_parameter(name, value).unwrap()
            })
    })
}

/// Lines that come near to the grammar, and often keep to it: of phrases, and of single characters.
fn near_misses() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "Bearer", "Basic", " ", ",", "=", "\"", "\\", "error", "e", "\t", "a=b", "\"x\"", "==",
        "\u{e4}", "/", ";",
    ]);
    let phrase = prop::sample::select(vec![
        "Bearer error=e",
        "Basic realm=\"x, y\"",
        "DPoP",
        "Negotiate YII==",
        "a=b",
        "b = \"\\\"c\\\\\"",
        "c=\"Basic d=e\"",
        "",
    ]);
    let gap = prop::sample::select(vec![", ", ", ", ", ", ",", " , ,", " "]);
    prop_oneof![
        vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
        vec((phrase, gap), 0..6).prop_map(|list| list
            .into_iter()
            .fold("Bearer x=y".to_owned(), |line, (phrase, gap)| format!(
                "{line}{gap}{phrase}"
            ))),
    ]
}

proptest! {
    // there is nowhere to put them; a case that failed becomes a test of its own
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(challenges in vec(challenges(), 0..4), as_one_line in any::<bool>()) {
        let lines: Vec<HeaderValue> = challenges.iter().map(Challenge::to_header_value).collect();
        let mut headers = HeaderMap::new();
        if as_one_line {
            let texts: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap()).collect();
            headers.insert(WWW_AUTHENTICATE, texts.join(", ").parse().unwrap());
        } else {
            for line in lines {
                headers.append(WWW_AUTHENTICATE, line);
            }
        }
        prop_assert_eq!(parse(&headers), challenges);
    }

    #[test]
    fn what_is_written_is_read_by_another_parser(challenge in challenges()) {
        let line = challenge.to_header_value();
        let theirs = http_auth::parse_challenges(line.to_str().unwrap());
        let theirs = theirs.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(theirs.len(), 1);
        prop_assert_eq!(theirs[0].scheme, challenge.scheme());
        let theirs: Vec<(&str, String)> = theirs[0]
            .params
            .iter()
            .map(|(name, value)| (*name, value.to_unescaped()))
            .collect();
        let ours: Vec<(&str, String)> = challenge
            .parameters()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        prop_assert_eq!(ours, theirs);
    }

    /// Where the other parser reads a line, it reads the same as this one, but for repeated names, which it allows.
    #[test]
    fn another_parser_never_reads_something_else(line in near_misses()) {
        if let (Ok(theirs), Ok(value)) = (http_auth::parse_challenges(&line), HeaderValue::try_from(&line)) {
            let ours = parse(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]));
            for challenge in ours {
                let is_same = theirs.iter().any(|other| {
                    let parameters: Vec<(&str, String)> = other
                        .params
                        .iter()
                        .map(|(name, value)| (*name, value.to_unescaped()))
                        .collect();
                    other.scheme == challenge.scheme()
                        && challenge
                            .parameters()
                            .eq(parameters.iter().map(|(name, value)| (*name, &**value)))
                });
                prop_assert!(is_same, "{} in {line:?}: {theirs:?}", shown(&challenge));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_what_is_read_of_them_is_written_and_read_again(
        bytes in vec(prop_oneof![Just(b'\t'), 32_u8..=126, 128_u8..=255], 0..200),
        near_miss in near_misses(),
    ) {
        for bytes in [bytes.as_slice(), near_miss.as_bytes()] {
            let line = HeaderValue::from_bytes(bytes).unwrap();
            let challenges = parse(&HeaderMap::from_iter([(WWW_AUTHENTICATE, line)]));
            let length: usize = challenges.iter().map(|challenge| shown(challenge).len()).sum();
            // a byte that is no text becomes three
            prop_assert!(length <= 3 * bytes.len());
            let written = challenges.iter().map(|challenge| (WWW_AUTHENTICATE, challenge.to_header_value()));
            prop_assert_eq!(parse(&written.collect()), challenges);
        }
    }
}
