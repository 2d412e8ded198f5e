//! What the tests of this target stand on: an API with an authorization server behind it, a person with scripted answers, and
//! calls that are polled by hand. Every request, challenge, prompt and exchange is counted.

#![allow(dead_code, reason = "every target uses a part of it")]

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use tokio_test::task::{self, Spawn};
use tower_layer::Layer as _;
use tower_mfa::body::{ReplayBody, ResponseBody};
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::testing::PausedClock;
use tower_mfa::time::Clock as _;
use tower_mfa::{
    AccessToken, Challenge, Code, CodeError, CodeProvider, CodeRejection, Demand, Event, Factor,
    Mfa, MfaLayer, RequestHead, Requirement, ResponseFuture, StepUpError, SteppedUp, TokenSet,
};
use tower_service::Service;

use crate::support::{Script, data};

pub(crate) const RIGHT: &str = "123456";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something to wait for that needs no runtime: Tokio's own lose their turn when a test polls them often.
#[derive(Default)]
pub(crate) struct Gate {
    inner: Mutex<(bool, Vec<Waker>)>,
}

impl Gate {
    /// Lets everybody pass, now and later.
    pub(crate) fn open(&self) {
        let wakers = {
            let mut inner = lock(&self.inner);
            inner.0 = true;
            std::mem::take(&mut inner.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn close(&self) {
        lock(&self.inner).0 = false;
    }

    pub(crate) async fn pass(&self) {
        std::future::poll_fn(|cx| {
            let mut inner = lock(&self.inner);
            if inner.0 {
                return Poll::Ready(());
            }
            inner.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Counts itself as long as it lives.
struct Alive<'a>(&'a AtomicUsize);

impl<'a> Alive<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

// ===== the person =====

/// How a person answers one prompt.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Code(&'static str),
    Declined,
    NotInteractive,
    Fails,
    Panics,
    /// When [`Person::gate`] is open.
    AtTheGate(Box<Self>),
    /// After a time.
    After(Duration, Box<Self>),
}

impl Reply {
    pub(crate) fn waits(self) -> Self {
        Self::AtTheGate(Box::new(self))
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }
}

/// Gives the replies of a script, and then the right code.
#[derive(Clone, Default)]
pub(crate) struct Person {
    mind: Arc<Mind>,
}

#[derive(Default)]
struct Mind {
    replies: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Reply>>,
    gate: Gate,
    prompts: AtomicUsize,
    polls: AtomicUsize,
    thinking: AtomicUsize,
    is_machine: Mutex<bool>,
}

impl Person {
    /// Replies like this once, after what was scripted before.
    pub(crate) fn then(&self, reply: Reply) -> &Self {
        lock(&self.mind.replies).push_back(reply);
        self
    }

    /// Replies like this when the script is at its end.
    pub(crate) fn always(&self, reply: Reply) -> &Self {
        *lock(&self.mind.always) = Some(reply);
        self
    }

    /// Is no person at all.
    pub(crate) fn is_a_machine(&self) -> &Self {
        *lock(&self.mind.is_machine) = true;
        self
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.mind.gate
    }

    /// How many prompts this person has seen.
    pub(crate) fn prompts(&self) -> usize {
        self.mind.prompts.load(SeqCst)
    }

    /// How often a prompt was polled.
    pub(crate) fn polls(&self) -> usize {
        self.mind.polls.load(SeqCst)
    }

    /// How many prompts are on the screen.
    pub(crate) fn thinking(&self) -> usize {
        self.mind.thinking.load(SeqCst)
    }
}

impl CodeProvider for Person {
    fn code(&self, _challenge: Challenge) -> impl Future<Output = Result<Code, CodeError>> + Send {
        let mind = &*self.mind;
        let mut answering = Box::pin(async move {
            mind.prompts.fetch_add(1, SeqCst);
            let _thinking = Alive::new(&mind.thinking);
            let scripted = lock(&mind.replies).pop_front();
            let always = || lock(&mind.always).clone();
            let mut reply = scripted.or_else(always).unwrap_or(Reply::Code(RIGHT));
            loop {
                reply = match reply {
                    Reply::Code(code) => return Ok(Code::new(code)),
                    Reply::Declined => return Err(CodeError::Declined),
                    Reply::NotInteractive => return Err(CodeError::NotInteractive),
                    Reply::Fails => return Err(CodeError::Other("no terminal".into())),
                    Reply::Panics => panic!("this panic is part of the test"),
                    Reply::AtTheGate(next) => {
                        mind.gate.pass().await;
                        *next
                    }
                    Reply::After(wait, next) => {
                        tokio::time::sleep(wait).await;
                        *next
                    }
                };
            }
        });
        std::future::poll_fn(move |cx| {
            mind.polls.fetch_add(1, SeqCst);
            answering.as_mut().poll(cx)
        })
    }

    fn is_interactive(&self) -> bool {
        !*lock(&self.mind.is_machine)
    }
}

// ===== the world outside: the authorization server and the API =====

/// One request as the API got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) marks: usize,
    pub(crate) body: Bytes,
}

impl Got {
    /// The bearer token; nothing if there are two.
    pub(crate) fn token(&self) -> &str {
        let mut values = self.headers.get_all(AUTHORIZATION).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        match values.next() {
            Some(_) => "",
            None => value.strip_prefix("Bearer ").unwrap_or(value),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }
}

type Issue = Arc<dyn Fn(&RequestHead, usize) -> TokenSet + Send + Sync>;

/// What all instances of a test share: the authorization server, which speaks a dialect of its own, and the API.
///
/// The API looks at the path: `/open` needs nothing, `/closed` is closed to everybody, `/original-only` refuses elevated tokens,
/// `/need/x` needs a token got for `x`, and everything else one got for `otp`. With `/slow` in front the answer is decided at once
/// and given when [`World::answers`] is open.
pub(crate) struct World {
    pub(crate) clock: PausedClock,
    pub(crate) answers: Gate,
    challenges: AtomicUsize,
    running: AtomicUsize,
    exchanges: AtomicUsize,
    got: Mutex<Vec<Got>>,
    /// The good tokens: of whom, and for what.
    good: Mutex<HashMap<String, (String, String)>>,
    refusals: AtomicUsize,
    issue: Mutex<Option<Issue>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: PausedClock::new(),
            answers: Gate::default(),
            challenges: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            got: Mutex::default(),
            good: Mutex::default(),
            refusals: AtomicUsize::new(0),
            issue: Mutex::default(),
        })
    }

    /// Issues other tokens than `elevated-alice-1`, which live an hour. They are given the request and the number of the exchange.
    pub(crate) fn issues(
        &self,
        issue: impl Fn(&RequestHead, usize) -> TokenSet + Send + Sync + 'static,
    ) {
        *lock(&self.issue) = Some(Arc::new(issue));
    }

    /// Issues tokens that live so long.
    pub(crate) fn issues_for(&self, life: Option<Duration>) {
        let clock = self.clock.clone();
        self.issues(move |request, n| {
            let expires_at = life.map(|life| clock.now() + life);
            TokenSet::new(AccessToken::new(
                format!("elevated-{}-{n}", user(request)),
                expires_at,
            ))
        });
    }

    /// Does not accept a token any more.
    pub(crate) fn revoke(&self, token: &str) {
        assert!(lock(&self.good).remove(token).is_some(), "{token}");
    }

    /// The tokens that are good, in a fixed order.
    pub(crate) fn good_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<_> = lock(&self.good).keys().cloned().collect();
        tokens.sort_unstable();
        tokens
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        lock(&self.got).clone()
    }

    /// The tokens of the requests that the API got, since this was asked last.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let got = std::mem::take(&mut *lock(&self.got));
        got.iter().map(|got| got.token().to_owned()).collect()
    }

    pub(crate) fn challenges(&self) -> usize {
        self.challenges.load(SeqCst)
    }

    /// How many step-ups the dialect is at work on.
    pub(crate) fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(SeqCst)
    }

    /// How many requests were answered by a demand.
    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(SeqCst)
    }

    fn judge(&self, got: &Got) -> Result<(), Option<String>> {
        let path = got.path();
        let path = path.strip_prefix("/slow").unwrap_or(path);
        let elevated = lock(&self.good).get(got.token()).cloned();
        let need = match path {
            "/open" => return Ok(()),
            "/closed" => return Err(None),
            "/original-only" => {
                let is_original = !got.token().starts_with("elevated");
                return is_original.then_some(()).ok_or(None);
            }
            _ => path.strip_prefix("/need/").unwrap_or("otp"),
        };
        match elevated {
            Some((user, requirement)) if requirement == need => {
                // rule 9, whatever else a test is about
                assert_eq!(user, got.headers["x-user"], "another user's token");
                Ok(())
            }
            _ => {
                self.refusals.fetch_add(1, SeqCst);
                Err(Some(need.to_owned()))
            }
        }
    }
}

/// Whose request it is.
pub(crate) fn user(request: &RequestHead) -> String {
    request.headers()["x-user"].to_str().unwrap().to_owned()
}

/// A JWT that says nothing but whose it is; `n` makes it another one.
pub(crate) fn jwt(sub: &str, n: usize) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{sub}","n":{n}}}"#));
    format!("elevated.{claims}.test")
}

struct Wire {
    world: Arc<World>,
}

impl Dialect for Wire {
    fn name(&self) -> &'static str {
        "one-prompt"
    }

    fn detect(&self, response: ResponseHead<'_>) -> Detection {
        match response.headers().get("x-need") {
            Some(need) => Detection::Demand(
                Demand::new()
                    .with_requirement(Requirement::new().with_challenge([need.to_str().unwrap()])),
            ),
            None => Detection::Nothing,
        }
    }

    fn is_token_request(&self, _method: &http::Method, uri: &http::Uri) -> bool {
        uri.path() == "/oauth/token"
    }

    async fn resolve(
        &self,
        demand: Demand,
        mut context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        self.world.challenges.fetch_add(1, SeqCst);
        let _running = Alive::new(&self.world.running);
        loop {
            let challenge = Challenge::new(Factor::Otp, context.request().clone());
            match context.ask(challenge).await?.expose() {
                RIGHT => break,
                "rejected" => return Err(StepUpError::rejected("the user pressed no")),
                "unreachable" => return Err(StepUpError::transport("no line", "cut")),
                _ => context.reject(CodeRejection::Wrong)?,
            }
        }
        let n = self.world.exchanges.fetch_add(1, SeqCst) + 1;
        let issue = lock(&self.world.issue).clone();
        let tokens = match issue {
            Some(issue) => issue(context.request(), n),
            None => {
                let token = format!("elevated-{}-{n}", user(context.request()));
                TokenSet::new(AccessToken::new(token, Some(context.now() + HOUR)))
            }
        };
        let good = (
            user(context.request()),
            demand.requirement().challenge()[0].clone(),
        );
        lock(&self.world.good).insert(tokens.access_token().expose().to_owned(), good);
        if self.is_token_request(context.request().method(), context.request().uri()) {
            let token = Bytes::from(tokens.access_token().expose().to_owned());
            return Ok(Remedy::response(Response::new(token), tokens));
        }
        Ok(Remedy::bearer(tokens).with_factor(Factor::Otp))
    }
}

/// The API. It panics if it is called without having been ready, as a real one may.
pub(crate) struct Api {
    world: Arc<World>,
    is_ready: bool,
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            is_ready: false,
        }
    }
}

impl Service<Request<ReplayBody<Script>>> for Api {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Script>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<Script>>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called before ready");
        let world = Arc::clone(&self.world);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes);
            let got = Got {
                uri: head.uri,
                version: head.version,
                headers: head.headers,
                marks: head.extensions.len(),
                body: body.unwrap_or_default(),
            };
            let verdict = world.judge(&got);
            let is_slow = got.path().starts_with("/slow");
            lock(&world.got).push(got);
            if is_slow {
                world.answers.pass().await;
            }
            let response = Response::builder();
            Ok(match verdict {
                Ok(()) => response.body(Script::exact([data("done")])),
                Err(Some(need)) => response
                    .status(StatusCode::UNAUTHORIZED)
                    .header("x-need", need)
                    .body(Script::exact([data("not like this")])),
                Err(None) => response
                    .status(StatusCode::FORBIDDEN)
                    .body(Script::exact([data("no")])),
            }
            .unwrap())
        })
    }
}

// ===== an instance of the service =====

/// One instance: a layer, and the person who sits in front of it.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) person: Person,
    pub(crate) layer: MfaLayer,
    pub(crate) service: Mfa<Api>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|layer| layer)
    }

    pub(crate) fn with(edit: impl FnOnce(MfaLayer) -> MfaLayer) -> Self {
        Self::instance(&World::new(), edit)
    }

    /// Another instance in the same world.
    pub(crate) fn instance(world: &Arc<World>, edit: impl FnOnce(MfaLayer) -> MfaLayer) -> Self {
        let person = Person::default();
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&events);
        let dialect = Wire {
            world: Arc::clone(world),
        };
        let layer = edit(
            MfaLayer::new(dialect, person.clone())
                .clock(world.clock.clone())
                .on_event(move |event| {
                    lock(&told).push(match event {
                        Event::Started { .. } => "started".to_owned(),
                        Event::Succeeded { .. } => "succeeded".to_owned(),
                        Event::Failed { error, .. } => error.outcome().to_owned(),
                        _ => "unknown".to_owned(),
                    });
                }),
        );
        let service = layer.layer(Api {
            world: Arc::clone(world),
            is_ready: false,
        });
        Self {
            world: Arc::clone(world),
            person,
            service,
            layer,
            events,
        }
    }

    /// Another service of the same layer, as axum makes one for each route.
    pub(crate) fn another_service(&self) -> Mfa<Api> {
        self.layer.layer(self.service.get_ref().clone())
    }

    pub(crate) fn call(&self, request: Request<Script>) -> Call {
        call(&self.service, request)
    }

    /// Calls and polls once: the first attempt is over, unless it is slow.
    pub(crate) fn begin(&self, request: Request<Script>) -> Call {
        let mut call = self.call(request);
        assert!(!call.poll(), "it ended at once");
        call
    }

    /// Calls, and gives what comes back without anybody's help.
    #[track_caller]
    pub(crate) fn finish(&self, request: Request<Script>) -> Answer {
        self.call(request).finish()
    }

    /// How many challenges, prompts and exchanges there were.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (
            self.world.challenges(),
            self.person.prompts(),
            self.world.exchanges(),
        )
    }

    /// The events, since this was asked last.
    pub(crate) fn events(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.events))
    }

    /// Nothing is under way, and nothing is left of what was.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        assert_eq!(self.layer.step_ups_under_way(), 0);
        assert_eq!(self.person.thinking(), 0);
        assert_eq!(self.world.running(), 0);
    }
}

pub(crate) fn call(service: &Mfa<Api>, request: Request<Script>) -> Call {
    let mut service = task::spawn(service.clone());
    let ready = service.enter(|cx, mut service| service.poll_ready(cx));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    Call {
        task: task::spawn(service.call(request)),
        answer: None,
    }
}

/// A request that is polled by hand.
pub(crate) struct Call {
    task: Spawn<ResponseFuture<Api, Script, Script>>,
    answer: Option<Answer>,
}

impl Call {
    /// Polls once, whether it was woken or not. Says whether there is an answer.
    pub(crate) fn poll(&mut self) -> bool {
        if self.answer.is_none()
            && let Poll::Ready(Ok(response)) = self.task.poll()
        {
            self.answer = Some(Answer::of(response));
        }
        self.answer.is_some()
    }

    /// Polls on somebody else's task.
    pub(crate) fn poll_with(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let future = Pin::new(&mut *self.task);
        future.poll(cx).map(|Ok(response)| Answer::of(response))
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.task.is_woken()
    }

    /// Polls as long as it wakes itself.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Answer {
        while !self.poll() {
            assert!(self.is_woken(), "it waits for something");
        }
        self.answer.unwrap()
    }
}

/// Polls those that were woken until nobody is, as a runtime does. Gives the answers, none of which may be missing.
#[track_caller]
pub(crate) fn finish_all(mut calls: Vec<Call>) -> Vec<Answer> {
    poll_all(&mut calls);
    let waiting = calls.iter().filter(|call| call.answer.is_none()).count();
    assert_eq!(waiting, 0, "of {} requests nobody wakes these", calls.len());
    calls.into_iter().map(|call| call.answer.unwrap()).collect()
}

/// Polls those that were woken until nobody is.
pub(crate) fn poll_all(calls: &mut [Call]) {
    let mut progress = true;
    while progress {
        progress = false;
        for call in &mut *calls {
            if call.answer.is_none() && call.is_woken() {
                call.poll();
                progress = true;
            }
        }
    }
}

/// What the caller got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) stepped_up: Option<SteppedUp>,
    pub(crate) error: Option<StepUpError>,
    body: ResponseBody<Script>,
}

impl Answer {
    fn of(response: Response<ResponseBody<Script>>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            stepped_up: head.extensions.get().cloned(),
            error: head.extensions.get().cloned(),
            body,
        }
    }

    pub(crate) fn text(self) -> String {
        let mut body = task::spawn(self.body.collect());
        loop {
            if let Poll::Ready(body) = body.poll() {
                return String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
            }
            assert!(body.is_woken(), "the body waits for something");
        }
    }

    /// The API has done it.
    #[track_caller]
    pub(crate) fn accepted(&self) {
        assert!(self.error.is_none(), "{:?}", self.error);
        assert_eq!(self.status, 200);
    }

    /// The original refusal, and why.
    #[track_caller]
    pub(crate) fn refused(&self) -> &StepUpError {
        assert!(self.stepped_up.is_none());
        assert_eq!(self.status, 401);
        self.error.as_ref().unwrap()
    }
}

// ===== requests =====

pub(crate) fn alice() -> Request<Script> {
    of("alice", "/transfers")
}

pub(crate) fn bob() -> Request<Script> {
    of("bob", "/transfers")
}

/// A request of this user, with a token that is not strong enough.
pub(crate) fn of(user: &str, uri: &str) -> Request<Script> {
    with_token(user, &format!("weak-{user}"), uri)
}

pub(crate) fn with_token(user: &str, token: &str, uri: &str) -> Request<Script> {
    Request::builder()
        .uri(uri)
        .header("x-user", user)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Script::empty())
        .unwrap()
}

/// Forty of alice's requests, as a page makes them, whose first attempts were all refused.
pub(crate) fn page(stage: &Stage) -> Vec<Call> {
    (0..40).map(|_| stage.begin(alice())).collect()
}

/// Lets time pass; nobody is polled.
pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// Lets tasks go on until this time has passed; in a test this takes no time.
pub(crate) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
