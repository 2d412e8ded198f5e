//! A kept head is a cloned head: whatever the request, both give the same.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderName, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// In a request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark(u32);

fn uris() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "/[a-z0-9/%._~-]{0,40}",
        "/[a-z]{0,5}\\?[a-z=&%/?]{0,400}",
        "https?://[a-z]{1,20}\\.example\\.com",
        "https?://user@[a-z]{1,20}\\.example:8080/[a-z/]{0,9}(\\?q=[a-z]{0,9})?",
        "[a-z]{1,9}\\.example\\.com:443",
        "coap\\+tcp://\\[::1\\]:9/x",
    ]
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("GET"),
        Just("POST"),
        Just("HEAD"),
        Just("M-SEARCH"),
        Just("A-METHOD-THAT-NOBODY-KNOWS"),
    ]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("authorization".to_owned()),
        Just("cookie".to_owned()),
        Just("content-type".to_owned()),
        Just("x-twice".to_owned()),
        "[a-z][a-z0-9-]{0,40}".prop_filter("asks for another protocol", |name| name != "upgrade"),
    ]
}

/// Everything that a field value may have (RFC 9110 section 5.5), obs-text included.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![32_u8..127, 128_u8..=255, Just(b'\t')];
    prop_oneof![
        9 => vec(byte.clone(), 0..70),
        1 => vec(byte, 0..2500),
    ]
}

fn heads() -> impl Strategy<Value = Request<()>> {
    let headers = vec((names(), values(), any::<bool>()), 0..24);
    let version = prop_oneof![
        Just(Version::HTTP_10),
        Just(Version::HTTP_11),
        Just(Version::HTTP_2),
        Just(Version::HTTP_3),
    ];
    let mark = proptest::option::of(any::<u32>());
    (uris(), methods(), version, headers, mark).prop_map(|(uri, method, version, headers, mark)| {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .version(version)
            .body(())
            .unwrap();
        for (name, value, is_sensitive) in headers {
            let mut value = HeaderValue::from_bytes(&value).unwrap();
            value.set_sensitive(is_sensitive);
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        // leaves its headers in another order than they came in
        request.headers_mut().remove(COOKIE);
        if let Some(mark) = mark {
            request.extensions_mut().insert(Mark(mark));
        }
        request
    })
}

fn lines(headers: &HeaderMap) -> Vec<(&str, &[u8], bool)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes(), value.is_sensitive()))
        .collect()
}

fn assert_same(one: &request::Parts, other: &request::Parts) {
    assert_eq!(one.method, other.method);
    assert_eq!(one.uri, other.uri);
    assert_eq!(one.uri.to_string(), other.uri.to_string());
    assert_eq!(one.uri.scheme(), other.uri.scheme());
    assert_eq!(one.uri.authority(), other.uri.authority());
    assert_eq!(one.uri.path_and_query(), other.uri.path_and_query());
    assert_eq!(one.version, other.version);
    assert_eq!(lines(&one.headers), lines(&other.headers));
    assert_eq!(one.headers, other.headers);
    assert_eq!(one.extensions.get::<Mark>(), other.extensions.get::<Mark>());
    assert_eq!(one.extensions.len(), other.extensions.len());
}

/// Takes the idle buffers off this thread.
fn idle_slots() -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut next = IDLE.take();
    while let Some(mut slot) = next {
        next = slot.next.take();
        slots.push(*slot);
    }
    slots
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kept_head_is_a_cloned_head(heads in vec(heads(), 1..4)) {
        // several at a time, so that buffers are used again, with other heads before
        for mut request in heads {
            let clone = request.clone().into_parts().0;
            let mut kept = KeptHead::keep(&mut request, None).unwrap();
            assert!(!kept.is_elevated());
            assert_eq!(*kept.method(), clone.method);
            assert_same(&request.into_parts().0, &clone);
            let restored = kept.restore().unwrap();
            assert_same(&restored.head, &clone);
            assert_eq!(restored.elevated, None);

            // and so is one that was kept again
            let mut again = KeptHead::plain(restored);
            assert_eq!(*again.method(), clone.method);
            assert_same(&again.restore().unwrap().head, &clone);
        }
    }

    /// The attempt has the elevated token in place of the first one, the kept head has its own.
    #[test]
    fn an_elevated_head_keeps_its_own_authorization(mut request in heads()) {
        let clone = request.clone().into_parts().0;
        let elevated = HeaderValue::from_static("Bearer elevated");
        let mut kept = KeptHead::keep(&mut request, Some(elevated.clone())).unwrap();
        assert!(kept.is_elevated());

        let mut expected = clone.clone();
        match expected.headers.get_mut(AUTHORIZATION) {
            Some(value) => *value = elevated.clone(),
            None => _ = expected.headers.insert(AUTHORIZATION, elevated.clone()),
        }
        assert_same(&request.into_parts().0, &expected);

        let restored = kept.restore().unwrap();
        assert_same(&restored.head, &clone);
        assert_eq!(restored.elevated, Some(elevated));
    }

    #[test]
    fn what_was_copied_is_overwritten(heads in vec(heads(), 1..4)) {
        idle_slots();
        let kept: Vec<_> = heads
            .into_iter()
            .map(|mut request| KeptHead::keep(&mut request, None).unwrap())
            .collect();
        drop(kept);
        for slot in idle_slots() {
            assert_eq!(slot.used, 0);
            assert!(slot.text.iter().all(|byte| *byte == 0));
            assert!(slot.text.len() <= MAX_TEXT);
            assert!(slot.own.is_none() && slot.elevated.is_none() && slot.plain.is_none());
            assert!(slot.extensions.is_empty());
        }
    }
}

fn get(name: HeaderName, value: &'static str) -> Request<()> {
    Request::get("/").header(name, value).body(()).unwrap()
}

#[test]
fn a_request_for_another_protocol_is_not_kept_and_not_changed() {
    let long = HeaderValue::from_bytes(&[b'x'; 2 * MAX_TEXT]).unwrap();
    let mut requests = [get(UPGRADE, "websocket"), get(UPGRADE, "websocket")];
    requests[1].headers_mut().insert(SET_COOKIE, long);
    for mut request in requests {
        let clone = request.clone().into_parts().0;
        let elevated = HeaderValue::from_static("Bearer elevated");
        assert!(KeptHead::keep(&mut request, Some(elevated)).is_none());
        assert_same(&request.into_parts().0, &clone);
    }
    assert!(
        idle_slots()
            .iter()
            .all(|slot| slot.text.iter().all(|byte| *byte == 0))
    );
}

/// `Upgrade` is a name, not a length.
#[test]
fn a_name_as_long_as_upgrade_is_kept() {
    let name = HeaderName::from_static("upgrads");
    assert!(KeptHead::keep(&mut get(name, "websocket"), None).is_some());
}

#[test]
fn a_thread_keeps_few_buffers_and_none_is_long() {
    idle_slots();
    let many: Vec<_> = (0..100)
        .map(|_| KeptHead::keep(&mut get(COOKIE, "a=1"), None).unwrap())
        .collect();
    drop(many);
    assert_eq!(idle_slots().len(), MAX_IDLE as usize);
}

/// A head of the longest length that is copied, and one of a byte more.
#[test]
fn a_long_head_is_cloned() {
    for (length, is_copied) in [(MAX_TEXT, true), (MAX_TEXT + 1, false)] {
        let others = "/".len() + Lengths::SIZE + COOKIE.as_str().len();
        let value = vec![b'x'; length - others];
        let mut request = Request::get("/").header(COOKIE, value).body(()).unwrap();
        let clone = request.clone().into_parts().0;
        let mut kept = KeptHead::keep(&mut request, None).unwrap();
        assert_eq!(kept.slot.as_ref().unwrap().plain.is_none(), is_copied);
        assert_same(&kept.restore().unwrap().head, &clone);
    }
}

#[test]
fn a_buffer_that_is_full_grows_and_leaves_nothing_behind() {
    idle_slots();
    for length in [10, 600, 3000, 10] {
        let mut request = Request::get("/")
            .header(COOKIE, vec![b'x'; length])
            .body(())
            .unwrap();
        let clone = request.clone().into_parts().0;
        let mut kept = KeptHead::keep(&mut request, None).unwrap();
        assert_same(&kept.restore().unwrap().head, &clone);
    }
    assert_eq!(idle_slots().len(), 1);
}
