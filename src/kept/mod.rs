//! [`KeptHead`]: the head of a request, kept so that the same request can be sent again.
//!
//! Nearly every request is answered without a demand: keeping has to be cheap, restoring need not be. A clone of a head shares
//! the memory of its values, and to begin with that takes an allocation for each of them, and two for the map. Here the text is
//! copied instead, into a buffer that requests take turns to use, and parsed again if it is needed.

#[cfg(test)]
mod model;
mod text;

use std::cell::Cell;
use std::hint::black_box;

use http::header::{AUTHORIZATION, UPGRADE};
use http::uri::Authority;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request,
};

use text::{Lengths, NotCopied, Reader, UriLengths, copy_head, restore_uri, uri_parts};

/// The longest text that is copied. A longer head is cloned.
const MAX_TEXT: usize = 4096;
/// What the lengths of buffers are multiples of: most heads need two or three, with a token of a kilobyte. No doubling, since
/// each request in flight has a buffer.
const STEP: usize = 512;
/// How many buffers a thread keeps for the next requests.
const MAX_IDLE: u32 = 32;

thread_local! {
    // by thread, so that requests on different cores never wait for each other
    static IDLE: Cell<Option<Box<Slot>>> = const { Cell::new(None) };
}

/// The head of a request, with the `authorization` that it came with, and the elevated one that is sent in place of that.
///
/// When it is dropped, what was copied is overwritten: there are tokens and cookies in it.
pub(crate) struct KeptHead {
    /// There until it is dropped.
    slot: Option<Box<Slot>>,
}

/// A head that can be read and changed.
pub(crate) struct RestoredHead {
    pub(crate) head: Box<request::Parts>,
    /// The elevated token that the attempt under way carries in place of the request's own.
    pub(crate) elevated: Option<HeaderValue>,
}

#[derive(Default)]
struct Slot {
    /// The parts of the URI, then each header: its lengths, name and value. Then zeros.
    text: Vec<u8>,
    used: usize,
    uri: UriLengths,
    method: Method,
    version: Version,
    /// Whether there is any of the following, which most requests have not.
    has_more: bool,
    extensions: Extensions,
    /// The first `authorization` of the request, if an elevated token replaced it: it was moved here, not copied.
    own: Option<HeaderValue>,
    elevated: Option<HeaderValue>,
    /// In place of everything else but `elevated`: the head itself.
    plain: Option<Box<request::Parts>>,
    /// The next one that is idle, and how many there are.
    next: Option<Box<Self>>,
    idle: u32,
}

impl KeptHead {
    /// Keeps the head of a request, and puts an elevated token in place of its `authorization`. `None` if it asks for another
    /// protocol, after which there is no request left to send again; it is not changed then.
    #[inline(always)]
    pub(crate) fn keep<B>(request: &mut Request<B>, elevated: Option<HeaderValue>) -> Option<Self> {
        let mut kept = Self {
            slot: Some(idle_slot()),
        };
        let slot = kept.slot.as_deref_mut()?;
        match slot.copy(request.uri(), request.headers(), elevated.is_some()) {
            Ok(()) => {
                slot.method = request.method().clone();
                slot.version = request.version();
                if !request.extensions().is_empty() {
                    slot.has_more = true;
                    slot.extensions = request.extensions().clone();
                }
            }
            Err(NotCopied::Upgrade) => return None,
            Err(NotCopied::NoRoom) => {
                slot.has_more = true;
                slot.plain = Some(clone(request)?);
            }
        }
        if let Some(elevated) = elevated {
            slot.has_more = true;
            slot.elevate(request.headers_mut(), elevated);
        }
        Some(kept)
    }

    /// Keeps a head that was restored, as it is.
    pub(crate) fn plain(restored: RestoredHead) -> Self {
        let mut slot = idle_slot();
        slot.has_more = true;
        slot.plain = Some(restored.head);
        slot.elevated = restored.elevated;
        Self { slot: Some(slot) }
    }

    /// Whether an elevated token was sent in place of the request's own.
    pub(crate) fn is_elevated(&self) -> bool {
        self.slot
            .as_ref()
            .is_some_and(|slot| slot.elevated.is_some())
    }

    pub(crate) fn method(&self) -> &Method {
        match self.slot.as_deref() {
            Some(Slot {
                plain: Some(head), ..
            }) => &head.method,
            Some(slot) => &slot.method,
            None => &Method::GET,
        }
    }

    /// The scheme and the authority, as long as the head was not restored; empty if there is none.
    pub(crate) fn origin(&self) -> (&str, &str) {
        match self.slot.as_deref() {
            Some(Slot {
                plain: Some(head), ..
            }) => (
                head.uri.scheme_str().unwrap_or_default(),
                head.uri.authority().map_or("", Authority::as_str),
            ),
            Some(slot) => slot.origin().unwrap_or_default(),
            None => ("", ""),
        }
    }

    /// The head as it came, once. `None` if it has a value that `http` would not accept, which takes `unsafe` code to make: such
    /// a request is not sent again.
    pub(crate) fn restore(&mut self) -> Option<RestoredHead> {
        let slot = self.slot.as_mut()?;
        let head = match slot.plain.take() {
            Some(head) => head,
            None => Box::new(slot.restore()?),
        };
        Some(RestoredHead {
            head,
            elevated: slot.elevated.take(),
        })
    }
}

impl Drop for KeptHead {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.clear();
            // where the thread ends, the slot does too
            let _ = IDLE.try_with(|idle| {
                let next = idle.take();
                slot.idle = next.as_ref().map_or(1, |next| next.idle + 1);
                if slot.idle <= MAX_IDLE {
                    slot.next = next;
                    idle.set(Some(slot));
                } else {
                    idle.set(next);
                }
            });
        }
    }
}

fn idle_slot() -> Box<Slot> {
    let slot = IDLE.try_with(|idle| {
        let mut slot = idle.take()?;
        idle.set(slot.next.take());
        Some(slot)
    });
    slot.ok().flatten().unwrap_or_default()
}

/// The clone of a head, unless it asks for another protocol.
#[cold]
fn clone<B>(request: &Request<B>) -> Option<Box<request::Parts>> {
    if request.headers().contains_key(UPGRADE) {
        return None;
    }
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head.extensions = request.extensions().clone();
    Some(Box::new(head))
}

impl Slot {
    /// Copies a head, with or without the first `authorization`.
    #[inline]
    fn copy(&mut self, uri: &Uri, headers: &HeaderMap, is_elevated: bool) -> Result<(), NotCopied> {
        // until it is known
        self.used = self.text.len();
        let left = match copy_head(&mut self.text, &mut self.uri, uri, headers, is_elevated) {
            Err(NotCopied::NoRoom) => self.copy_to_more(uri, headers, is_elevated)?,
            copied => copied?,
        };
        self.used = self.text.len() - left;
        Ok(())
    }

    #[cold]
    fn copy_to_more(
        &mut self,
        uri: &Uri,
        headers: &HeaderMap,
        is_elevated: bool,
    ) -> Result<usize, NotCopied> {
        self.make_room(uri, headers)?;
        self.used = self.text.len();
        copy_head(&mut self.text, &mut self.uri, uri, headers, is_elevated)
    }

    /// Makes room for a head, unless it is too long.
    #[cold]
    fn make_room(&mut self, uri: &Uri, headers: &HeaderMap) -> Result<(), NotCopied> {
        let [scheme, authority, path] = uri_parts(uri).map(<[u8]>::len);
        let mut length = scheme + authority + path;
        for (name, value) in headers {
            length += Lengths::SIZE + name.as_str().len() + value.len();
        }
        self.wipe();
        if length > MAX_TEXT {
            return Err(NotCopied::NoRoom);
        }
        self.text = vec![0; length.next_multiple_of(STEP)];
        Ok(())
    }

    fn elevate(&mut self, headers: &mut HeaderMap, elevated: HeaderValue) {
        self.elevated = Some(elevated.clone());
        // `insert` would make room for one more header first, even where it only replaces
        match headers.get_mut(AUTHORIZATION) {
            Some(value) => self.own = Some(std::mem::replace(value, elevated)),
            None => _ = headers.insert(AUTHORIZATION, elevated),
        }
    }

    fn origin(&self) -> Option<(&str, &str)> {
        let mut text = Reader(&self.text);
        let scheme = text.take(self.uri.scheme)?;
        let authority = text.take(self.uri.authority)?;
        Some((
            str::from_utf8(scheme).ok()?,
            str::from_utf8(authority).ok()?,
        ))
    }

    fn restore(&mut self) -> Option<request::Parts> {
        let mut text = Reader(self.text.get(..self.used)?);
        let (mut head, ()) = Request::new(()).into_parts();
        let scheme = text.take(self.uri.scheme)?;
        let authority = text.take(self.uri.authority)?;
        head.uri = restore_uri(scheme, authority, text.take(self.uri.path)?)?;
        while let Some(lengths) = text.take(Lengths::SIZE) {
            let lengths = Lengths::from_bytes(lengths.try_into().ok()?);
            let name = HeaderName::from_bytes(text.take(lengths.name())?).ok()?;
            let value = match lengths.value() {
                None => self.own.take()?,
                Some(length) => {
                    let mut value = HeaderValue::from_bytes(text.take(length)?).ok()?;
                    value.set_sensitive(lengths.is_sensitive());
                    value
                }
            };
            head.headers.append(name, value);
        }
        head.method = std::mem::take(&mut self.method);
        head.version = self.version;
        head.extensions = std::mem::take(&mut self.extensions);
        Some(head)
    }

    fn clear(&mut self) {
        self.wipe();
        if self.has_more {
            self.has_more = false;
            self.extensions = Extensions::new();
            self.own = None;
            self.elevated = None;
            self.plain = None;
        }
    }

    fn wipe(&mut self) {
        if let Some(used) = self.text.get_mut(..self.used) {
            used.fill(0);
            // so that the compiler does not find the writing useless, if the memory is freed next
            black_box(used);
        }
        self.used = 0;
    }
}
