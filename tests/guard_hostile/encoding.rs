//! Texts that a lenient reader would take, each signed as it stands.

use serde_json::json;
use tower_mfa::guard::Reason;

use crate::forge::{Case, World, claims, encode, good, header, parts, sign, sign_parts};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The same bytes in another spelling: one for each part of a token.
pub(crate) fn base64(world: &World) -> Vec<Case> {
    let key = world.es256();
    let mut cases = Vec::new();
    let good_parts = parts(&good(key)).map(str::to_owned);
    for (part, name) in ["header", "claims", "signature"].into_iter().enumerate() {
        let mut case = |what: &str, edit: &dyn Fn(&str) -> String| {
            let mut parts = good_parts.clone();
            // Spaces in JSON make any length, and so any number of bits that are left over.
            if part < 2 {
                let text = [header(key), claims()][part].to_string();
                let missing = (3 - text.len() % 3) % 3;
                // two bytes over: one character of padding
                parts[part] = encode(format!("{}{text}", " ".repeat(missing + 2)));
            }
            parts[part] = edit(&parts[part]);
            let token = if part < 2 {
                sign_parts(key, &parts[0], &parts[1])
            } else {
                parts.join(".")
            };
            cases.push(Case::new(
                format!("{name}: {what}"),
                token,
                Reason::MalformedToken,
            ));
        };
        case("padding", &|text| format!("{text}="));
        case("more padding", &|text| format!("{text}=="));
        case("bits left over", &|text| spare_bits(text));
        case("a length that no bytes have", &|text| {
            format!("{}A", &text[..text.len() - text.len() % 4])
        });
        case("space in it", &|text| {
            format!("{} {}", &text[..4], &text[4..])
        });
        case("space after it", &|text| format!("{text} "));
        case("newline in it", &|text| {
            format!("{}\n{}", &text[..4], &text[4..])
        });
        case("CRLF after it", &|text| format!("{text}\r\n"));
        case("tab before it", &|text| format!("\t{text}"));
        case("NUL after it", &|text| format!("{text}\0"));
        case("BOM before it", &|text| format!("\u{feff}{text}"));
        case("percent-encoded", &|text| {
            format!("%{:02X}{}", text.as_bytes()[0], &text[1..])
        });
        case("an exclamation mark", &|text| {
            format!("{}!{}", &text[..4], &text[4..])
        });
        case("a plus", &|text| format!("{}+{}", &text[..4], &text[5..]));
        case("a slash", &|text| format!("{}/{}", &text[..4], &text[5..]));
        case("a letter that is none of ASCII", &|text| {
            format!("\u{ff45}{}", &text[1..])
        });
        case("padding only", &|_| "====".to_owned());
    }
    // What has both of the characters in which the alphabets differ.
    let text = claims()
        .to_string()
        .replacen('{', "{\"~\u{3fe}~\u{ff}~?>~?~>\":\"???>>>~~~\",", 1);
    let standard = encode(text).replace('-', "+").replace('_', "/");
    let token = sign_parts(key, &encode(header(key).to_string()), &standard);
    cases.push(Case::new(
        "claims: the standard alphabet",
        token,
        Reason::MalformedToken,
    ));
    cases
}

/// The last character with a bit set that stands for nothing.
fn spare_bits(text: &str) -> String {
    assert_ne!(text.len() % 4, 0, "there are bits to spare");
    let (rest, last) = text.split_at(text.len() - 1);
    let value = ALPHABET
        .iter()
        .position(|known| *known == last.as_bytes()[0]);
    let changed = char::from(ALPHABET[value.unwrap() ^ 1]);
    format!("{rest}{changed}")
}

/// What is no compact JWS.
pub(crate) fn forms(world: &World) -> Vec<Case> {
    let key = world.es256();
    let good = good(key);
    let [header, claims, signature] = parts(&good);
    [
        ("nothing", String::new()),
        ("a dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("many dots", ".".repeat(1000)),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("a dot before", format!(".{good}")),
        ("a dot after", format!("{good}.")),
        ("four parts", format!("{good}.{signature}")),
        ("two dots between", format!("{header}..{claims}.{signature}")),
        ("five parts, as of a JWE", format!("{header}.{claims}.{signature}.{claims}.{signature}")),
        ("two tokens", format!("{good}{good}")),
        ("two tokens with a dot", format!("{good}.{good}")),
        ("two tokens with a comma", format!("{good},{good}")),
        ("a tilde, as of an SD-JWT", format!("{good}~")),
        ("the scheme again", format!("Bearer {good}")),
        ("quotes", format!("\"{good}\"")),
        ("a space before", format!(" {good}")),
        ("a space after", format!("{good} ")),
        ("a newline after", format!("{good}\n")),
        ("a newline before", format!("\n{good}")),
        ("a tab before", format!("\t{good}")),
        ("a NUL after", format!("{good}\0")),
        ("a BOM before", format!("\u{feff}{good}")),
        ("upper case", good.to_uppercase()),
        ("lower case", good.to_lowercase()),
        ("encoded once more", encode(&good)),
        ("an opaque token", "test-opaque-token".to_owned()),
        ("JSON, flattened", json!({"protected": header, "payload": claims, "signature": signature}).to_string()),
        (
            "JSON, general",
            json!({"payload": claims, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        ),
        ("a JWE by its header", {
            let header = encode(json!({"alg": "dir", "enc": "A256GCM", "typ": "at+jwt"}).to_string());
            format!("{header}..{signature}.{claims}.{signature}")
        }),
    ]
    .into_iter()
    .map(|(name, token)| Case::new(name, token, Reason::MalformedToken))
    .collect()
}

/// What is no JSON object, in the header and in the claims.
pub(crate) fn json_texts(world: &World) -> Vec<Case> {
    let key = world.es256();
    let mut cases = Vec::new();
    let good = [header(key).to_string(), claims().to_string()];
    for (part, name) in ["header", "claims"].into_iter().enumerate() {
        let text = good[part].as_str();
        let open = text.trim_end_matches('}');
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
        let variants: Vec<(&str, Vec<u8>)> = vec![
            ("a BOM", format!("\u{feff}{text}").into()),
            ("UTF-16, big end first", utf16(u16::to_be_bytes)),
            ("UTF-16, little end first", utf16(u16::to_le_bytes)),
            ("no UTF-8", [open.as_bytes(), b",\"x\":\"\xff\"}"].concat()),
            (
                "UTF-8 of a surrogate",
                [open.as_bytes(), b",\"x\":\"\xed\xa0\x80\"}"].concat(),
            ),
            (
                "UTF-8 that is too long",
                [open.as_bytes(), b",\"x\":\"\xc0\xaf\"}"].concat(),
            ),
            (
                "half a surrogate pair",
                format!("{open},\"x\":\"\\ud800\"}}").into(),
            ),
            (
                "a control character",
                format!("{open},\"x\":\"\n\"}}").into(),
            ),
            (
                "an unknown escape",
                format!("{open},\"x\":\"\\x41\"}}").into(),
            ),
            ("an object after it", format!("{text}{{}}").into()),
            ("the object again", format!("{text}{text}").into()),
            ("a bracket after it", format!("{text}}}").into()),
            ("a NUL after it", format!("{text}\0").into()),
            ("a letter after it", format!("{text}x").into()),
            ("a comma after it", format!("{text},").into()),
            ("a comma too many", format!("{open},}}").into()),
            ("a comment", format!("{text}/**/").into()),
            ("a comment in it", format!("{open}/**/}}").into()),
            ("no end", open.into()),
            ("half of it", text[..text.len() / 2].into()),
            ("single quotes", text.replace('"', "'").into()),
            ("names without quotes", format!("{open},x:1}}").into()),
            ("an array", format!("[{text}]").into()),
            ("a string", serde_json::Value::from(text).to_string().into()),
            ("a number", b"1".to_vec()),
            ("null", b"null".to_vec()),
            ("spaces", b"   ".to_vec()),
            ("an empty object", b"{}".to_vec()),
            ("a form", b"alg=ES256&typ=at%2Bjwt&exp=1900000000".to_vec()),
            ("XML", b"<token alg=\"ES256\"/>".to_vec()),
            ("CBOR", b"\xa1\x63alg\x26".to_vec()),
            ("zeros", vec![0; 64]),
        ];
        for (what, bytes) in variants {
            let token = if part == 0 {
                sign(key, bytes, &good[1])
            } else {
                sign(key, &good[0], bytes)
            };
            cases.push(Case::new(
                format!("{name}: {what}"),
                token,
                Reason::MalformedToken,
            ));
        }
    }
    cases
}

/// Too deep, too many, too long.
pub(crate) fn sizes(world: &World) -> Vec<Case> {
    let key = world.es256();
    let mut cases = Vec::new();
    let mut case = |name: String, token: String| {
        cases.push(Case::new(name, token, Reason::MalformedToken));
    };
    let arrays = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let many = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
        members.join(",")
    };
    for depth in [8, 100, 1000, 5000] {
        case(
            format!("header: {depth} arrays"),
            world.with_header_text(&format!("\"x\":{}", arrays(depth))),
        );
    }
    for depth in [16, 127, 128, 1000, 5000] {
        case(
            format!("claims: {depth} arrays"),
            world.with_claim("x", &arrays(depth)),
        );
    }
    for depth in [16, 127, 1000, 2000] {
        case(
            format!("claims: {depth} objects"),
            world.with_claim("x", &objects(depth)),
        );
    }
    case(
        "claims: an array without an end".to_owned(),
        world.with_claim("x", &"[".repeat(10_000)),
    );
    case(
        "header: many members".to_owned(),
        world.with_header_text(&many(62)),
    );
    case(
        "claims: many members".to_owned(),
        world.with_claims_text(&format!("{{{}}}", many(257))),
    );
    case(
        "claims: many members within".to_owned(),
        world.with_claim("x", &format!("{{{}}}", many(256))),
    );
    const MIB: usize = 1024 * 1024;
    case(
        "header: 1 MiB".to_owned(),
        world.with_header_text(&format!("\"x\":\"{}\"", "x".repeat(MIB))),
    );
    case(
        "claims: 1 MiB".to_owned(),
        world.with_claim("x", &format!("\"{}\"", "x".repeat(MIB))),
    );
    case(
        "claims: 1 MiB of brackets".to_owned(),
        world.with_claim("x", &arrays(MIB)),
    );
    case(
        "claims: 1 MiB of spaces".to_owned(),
        world.with_claim("x", &format!("{}1", " ".repeat(MIB))),
    );
    let good = good(key);
    case(
        "signature: 1 MiB".to_owned(),
        format!("{good}{}", "A".repeat(MIB)),
    );
    case("1 MiB of dots".to_owned(), ".".repeat(MIB));
    let text = |length: usize| world.with_claim("x", &format!("\"{}\"", "x".repeat(length)));
    case(
        "a byte over 16 KiB".to_owned(),
        exactly(16 * 1024 + 1, text),
    );
    cases
}

/// A token of this length, if there is one: base64 skips every fourth. Then the next longer.
pub(crate) fn exactly(length: usize, token: impl Fn(usize) -> String) -> String {
    let empty = token(0).len();
    let near = (length - empty) / 4 * 3;
    (near.saturating_sub(4)..near + 8)
        .map(token)
        .find(|token| token.len() >= length)
        .unwrap()
}
