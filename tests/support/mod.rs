//! What the tests of the layer share: a body and a dialect that follow a script, and the layer around `tower_test::mock`.
//!
//! Nothing here needs the network, Auth0 or the feature `testing`. Time is Tokio's: use
//! `#[tokio::test(start_paused = true)]`. A typical test:
//!
//! ```ignore
//! let (layer, seen) = layer(Plan::Bearer("new"));
//! let (mut service, mut handle) = mocked(layer);
//! let mut response = send(&mut service, post(Script::exact([data("abc")])));
//! let (first, answer) = accept(&mut handle);
//! answer.send_response(demand());
//! assert_pending!(response.poll());
//! let (second, answer) = accept(&mut handle);
//! answer.send_response(Response::new(Script::empty()));
//! let response = finish(&mut response);
//! ```
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio_test::task::{self, Spawn};
use tower_mfa::body::{ReplayBody, ResponseBody};
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{
    AccessToken, BoxError, Challenge, Code, Demand, Factor, Mfa, MfaLayer, StepUpError, SteppedUp,
    TokenSet, code_fn,
};
use tower_service::Service;
use tower_test::mock;

// ===== a body by script =====

/// What a [`Script`] does when it is polled.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(&'static str),
    /// Pending once; wakes itself.
    Yield,
    /// Nobody may poll so far.
    Panic,
}

pub(crate) fn data(text: impl Into<Bytes>) -> Step {
    Step::Data(text.into())
}

/// One trailer, `x-trailer`.
pub(crate) fn trailers(value: &str) -> Step {
    Step::Trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("x-trailer"),
        value.parse().unwrap(),
    )]))
}

/// A body that yields its steps one by one, and says of its size what it was told to say, less what it has yielded. It must not
/// be polled after its end or its error.
pub(crate) struct Script {
    state: Arc<Mutex<State>>,
}

/// The other end of a [`Script`]: sees what became of it, and goes on with an [open](Script::open) one.
#[derive(Clone)]
pub(crate) struct Feed {
    state: Arc<Mutex<State>>,
}

struct State {
    steps: VecDeque<Step>,
    hint: SizeHint,
    open: bool,
    /// It has said that there is no more, or failed: nobody may poll it again.
    over: bool,
    polls: usize,
    dropped: bool,
    waker: Option<Waker>,
}

impl Script {
    /// A body that says nothing of its size: HTTP/1.1 would send it in chunks.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                steps: steps.into_iter().collect(),
                hint: SizeHint::new(),
                open: false,
                over: false,
                polls: 0,
                dropped: false,
                waker: None,
            })),
        }
    }

    /// A body that knows its size: HTTP/1.1 would send it with a `content-length`.
    pub(crate) fn exact(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Self::new(steps);
        let size = script.lock().steps.iter().map(Step::size).sum();
        script.with_hint(SizeHint::with_exact(size))
    }

    /// A body that has ended before it was polled.
    pub(crate) fn empty() -> Self {
        Self::exact([])
    }

    /// A body that is not at its end after these steps; see [`Feed::push`] and [`Feed::end`].
    pub(crate) fn open(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Self::new(steps);
        script.lock().open = true;
        script
    }

    pub(crate) fn with_hint(self, hint: SizeHint) -> Self {
        self.lock().hint = hint;
        self
    }

    pub(crate) fn feed(&self) -> Feed {
        Feed {
            state: Arc::clone(&self.state),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Step {
    fn size(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            _ => 0,
        }
    }
}

impl Feed {
    pub(crate) fn push(&self, step: Step) {
        self.change(|state| state.steps.push_back(step));
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.open = false);
    }

    /// How often the body was polled.
    pub(crate) fn polls(&self) -> usize {
        self.state.lock().unwrap().polls
    }

    /// Whether the body is gone.
    pub(crate) fn is_dropped(&self) -> bool {
        self.state.lock().unwrap().dropped
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The error of a [`Script`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ScriptError(pub(crate) &'static str);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for ScriptError {}

impl Body for Script {
    type Data = Bytes;
    type Error = ScriptError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptError>>> {
        let mut state = self.lock();
        state.polls += 1;
        assert!(!state.over, "a body was polled after its end");
        let Some(step) = state.steps.pop_front() else {
            if state.open {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.over = true;
            return Poll::Ready(None);
        };
        let size = step.size();
        let mut hint = SizeHint::new();
        hint.set_lower(state.hint.lower().saturating_sub(size));
        if let Some(upper) = state.hint.upper() {
            hint.set_upper(upper.saturating_sub(size));
        }
        state.hint = hint;
        match step {
            Step::Data(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Step::Trailers(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Step::Error(text) => {
                state.steps.clear();
                state.over = true;
                Poll::Ready(Some(Err(ScriptError(text))))
            }
            Step::Yield => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Panic => {
                drop(state);
                panic!("a body was read that nobody had to read")
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.lock();
        !state.open && state.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().hint
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // the lock is poisoned after `Step::Panic`
        if let Ok(mut state) = self.state.lock() {
            state.dropped = true;
        }
    }
}

/// What a body yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Yielded {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(String),
    End,
}

pub(crate) fn yielded(text: impl Into<Bytes>) -> Poll<Yielded> {
    Poll::Ready(Yielded::Data(text.into()))
}

pub(crate) const END: Poll<Yielded> = Poll::Ready(Yielded::End);

/// Polls a body once, on a task of its own: `tokio_test::task::spawn(body)`.
pub(crate) fn next<B>(body: &mut Spawn<B>) -> Poll<Yielded>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    body.enter(|cx, body| body.poll_frame(cx)).map(|frame| {
        let frame = match frame {
            None => return Yielded::End,
            Some(Err(error)) => return Yielded::Error(error.to_string()),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => Yielded::Data(data),
            Err(frame) => Yielded::Trailers(frame.into_trailers().unwrap()),
        }
    })
}

/// What a body said of itself (size hint, `is_end_stream`), and what it then yielded, after any pauses.
pub(crate) type Entry = ((u64, Option<u64>, bool), Yielded);

/// Reads a body to its end or its error, and notes everything that a server or a client can see of it.
pub(crate) fn transcript<B>(body: &mut Spawn<B>) -> Vec<Entry>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    let mut entries = Vec::new();
    loop {
        let hint = body.size_hint();
        let said = (hint.lower(), hint.upper(), body.is_end_stream());
        let yielded = loop {
            if let Poll::Ready(yielded) = next(body) {
                break yielded;
            }
            assert!(body.is_woken(), "the body waits for ever: {entries:?}");
        };
        let ends = matches!(yielded, Yielded::End | Yielded::Error(_));
        entries.push((said, yielded));
        if ends {
            return entries;
        }
    }
}

/// [`transcript`] of a body that nobody has polled yet.
pub(crate) fn read<B>(body: B) -> Vec<Entry>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    transcript(&mut task::spawn(body))
}

// ===== a dialect by script =====

/// What a step-up brings.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// This bearer token, at once.
    Bearer(&'static str),
    /// These headers, at once.
    Headers(HeaderMap),
    /// A code is asked for, and is the bearer token.
    Ask,
    /// The user rejects it, at once.
    Fail,
    /// This bearer token, after [`Seen::release`].
    Wait(&'static str),
    /// The user rejects it, after [`Seen::release`].
    WaitAndFail,
}

/// What the dialect was asked to do.
#[derive(Debug)]
pub(crate) struct Seen {
    detects: AtomicUsize,
    bodies: AtomicUsize,
    resolves: AtomicUsize,
    running: AtomicUsize,
    releases: Semaphore,
}

impl Seen {
    /// How many response heads it was shown.
    pub(crate) fn detects(&self) -> usize {
        self.detects.load(Ordering::Relaxed)
    }

    /// How many response bodies it was shown.
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    /// How many step-ups were begun.
    pub(crate) fn resolves(&self) -> usize {
        self.resolves.load(Ordering::Relaxed)
    }

    /// How many step-ups are under way: neither ended nor dropped.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Lets one step-up go on that waits.
    pub(crate) fn release(&self) {
        self.releases.add_permits(1);
    }
}

/// A demand is a response with the header `x-mfa: required`, or one whose body is JSON with `"error":"mfa_required"`.
/// With `x-mfa: none` the head says that there is none.
#[derive(Debug)]
pub(crate) struct Scripted {
    plan: Plan,
    seen: Arc<Seen>,
}

impl Scripted {
    pub(crate) fn new(plan: Plan) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen {
            detects: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            resolves: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            releases: Semaphore::new(0),
        });
        let dialect = Self {
            plan,
            seen: Arc::clone(&seen),
        };
        (dialect, seen)
    }
}

struct Running<'a>(&'a Seen);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dialect for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn detect(&self, response: ResponseHead<'_>) -> Detection {
        self.seen.detects.fetch_add(1, Ordering::Relaxed);
        match response
            .headers()
            .get("x-mfa")
            .map(http::HeaderValue::as_bytes)
        {
            Some(b"required") => Detection::Demand(Demand::new()),
            Some(b"none") => Detection::Nothing,
            _ => Detection::Body,
        }
    }

    fn detect_body(&self, _response: ResponseHead<'_>, body: &[u8]) -> Option<Demand> {
        self.seen.bodies.fetch_add(1, Ordering::Relaxed);
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        (body["error"] == "mfa_required").then(Demand::new)
    }

    async fn resolve(
        &self,
        _demand: Demand,
        mut context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        self.seen.resolves.fetch_add(1, Ordering::Relaxed);
        self.seen.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(&self.seen);
        if let Plan::Wait(_) | Plan::WaitAndFail = self.plan {
            self.seen.releases.acquire().await.unwrap().forget();
        }
        let token = match &self.plan {
            Plan::Bearer(token) | Plan::Wait(token) => (*token).to_owned(),
            Plan::Headers(headers) => return Ok(Remedy::headers(headers.clone())),
            Plan::Fail | Plan::WaitAndFail => {
                return Err(StepUpError::rejected("the user said no"));
            }
            Plan::Ask => {
                let challenge = Challenge::new(Factor::Otp, context.request().clone());
                context.ask(challenge).await?.expose().to_owned()
            }
        };
        Ok(Remedy::bearer(TokenSet::new(AccessToken::new(token, None))).with_factor(Factor::Otp))
    }
}

/// A layer with the default settings, the scripted dialect, and a code provider that always gives `123456`.
pub(crate) fn layer(plan: Plan) -> (MfaLayer, Arc<Seen>) {
    let (dialect, seen) = Scripted::new(plan);
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    (MfaLayer::new(dialect, codes), seen)
}

// ===== the layer around a mock service =====

pub(crate) type Inner = mock::Mock<Request<ReplayBody<Script>>, Response<Script>>;
pub(crate) type Handle = mock::Handle<Request<ReplayBody<Script>>, Response<Script>>;
pub(crate) type Answer = mock::SendResponse<Response<Script>>;

/// The layer around a mock service, which panics if it is called without having been ready.
pub(crate) fn mocked(layer: MfaLayer) -> (mock::Spawn<Mfa<Inner>>, Handle) {
    mock::spawn_layer(layer)
}

/// Calls a service that has to be ready.
pub(crate) fn send<S>(
    service: &mut mock::Spawn<S>,
    request: Request<Script>,
) -> Spawn<<S as Service<Request<Script>>>::Future>
where
    S: Service<Request<Script>>,
    S::Error: fmt::Debug,
{
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    task::spawn(service.call(request))
}

/// The request that the mock service has got.
///
/// Tokio lets a task poll its channels 128 times in a row: a long loop needs a `tokio::task::yield_now().await` in each turn.
pub(crate) fn accept(handle: &mut Handle) -> (Request<ReplayBody<Script>>, Answer) {
    match handle.poll_request() {
        Poll::Ready(Some(call)) => call,
        _ => panic!("the inner service was not called"),
    }
}

/// Asserts that the mock service has got no request.
pub(crate) fn assert_not_called(handle: &mut Handle) {
    // ready with nothing: every clone of the service is gone
    assert!(
        !matches!(handle.poll_request(), Poll::Ready(Some(_))),
        "the inner service was called"
    );
}

/// Polls a response future until it is ready; nothing but the future itself may be waited for.
pub(crate) fn finish<F, R>(response: &mut Spawn<F>) -> Response<ResponseBody<R>>
where
    F: Future<Output = Result<Response<ResponseBody<R>>, BoxError>>,
    R: Body,
{
    match response.poll_until_idle() {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("the response is not there"),
    }
}

/// Sends a request, refuses it, and gives what the caller gets without a second attempt.
pub(crate) fn refused(
    layer: MfaLayer,
    request: Request<Script>,
    refusal: Response<Script>,
) -> Response<ResponseBody<Script>> {
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, request);
    accept(&mut handle).1.send_response(refusal);
    let response = finish(&mut response);
    assert_not_called(&mut handle);
    response
}

/// Why there was no step-up.
pub(crate) fn step_up_error(response: &Response<ResponseBody<Script>>) -> StepUpError {
    assert!(response.extensions().get::<SteppedUp>().is_none());
    response.extensions().get::<StepUpError>().unwrap().clone()
}

pub(crate) fn get() -> Request<Script> {
    Request::new(Script::empty())
}

pub(crate) fn post(body: Script) -> Request<Script> {
    Request::post("/transfers").body(body).unwrap()
}

/// A 403 that is a demand by its body.
pub(crate) fn demand() -> Response<Script> {
    json(
        StatusCode::FORBIDDEN,
        Script::exact([data(r#"{"error":"mfa_required"}"#)]),
    )
}

/// A 401 that is a demand by its head.
pub(crate) fn demand_by_head(body: Script) -> Response<Script> {
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("x-mfa", "required")
        .body(body)
        .unwrap()
}

pub(crate) fn ok() -> Response<Script> {
    Response::new(Script::exact([data("ok")]))
}

pub(crate) fn json(status: StatusCode, body: Script) -> Response<Script> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

/// Names and values in their order.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect()
}

/// A body to be made as often as one likes, and its name.
pub(crate) type Named = (&'static str, fn() -> Script);

/// Bodies of every shape, by name: one chunk, many, none, with and without size, trailers, pauses, errors.
pub(crate) fn scripts() -> Vec<Named> {
    vec![
        ("one chunk", || Script::exact([data("abc")])),
        ("many chunks", || {
            Script::exact([data("a"), data("bc"), data("def")])
        }),
        ("many chunks of unknown size", || {
            Script::new([data("a"), data("bc"), data("def")])
        }),
        ("chunks and trailers", || {
            Script::new([data("a"), data("b"), trailers("t")])
        }),
        ("known size and trailers", || {
            Script::exact([data("a"), data("b"), trailers("t")])
        }),
        ("trailers only", || Script::exact([trailers("t")])),
        ("an empty chunk", || {
            Script::new([data("a"), data(""), data("b")])
        }),
        ("nothing", Script::empty),
        ("nothing, of unknown size", || Script::new([])),
        ("nothing, after a pause", || Script::new([Step::Yield])),
        ("pauses", || {
            Script::new([Step::Yield, data("a"), Step::Yield, Step::Yield, data("b")])
        }),
        ("a pause before trailers", || {
            Script::new([data("a"), Step::Yield, trailers("t")])
        }),
        ("at most ten bytes", || {
            let mut hint = SizeHint::new();
            hint.set_lower(1);
            hint.set_upper(10);
            Script::new([data("a"), data("b")]).with_hint(hint)
        }),
    ]
}

/// Bodies that fail, by name.
pub(crate) fn failing_scripts() -> Vec<Named> {
    vec![
        ("an error at once", || Script::new([Step::Error("broken")])),
        ("an error midway", || {
            Script::new([data("a"), data("b"), Step::Error("broken")])
        }),
        ("an error midway, known size", || {
            Script::new([data("a"), Step::Yield, Step::Error("broken")])
                .with_hint(SizeHint::with_exact(9))
        }),
    ]
}
