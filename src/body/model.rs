//! [`ReplayBody`] against a model. The model is a `Vec` of frames and a few numbers; the script of the source, the order of what
//! its readers and the layer do, and the limit are random.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::body::{BodyFactory, Replay, ReplayBody};
use crate::error::BoxError;

// ===== the source =====

/// A request's body, as a plan that can be carried out again.
#[derive(Clone, Debug)]
struct Script {
    steps: Vec<Step>,
    end: End,
    /// Whether `is_end_stream` is true as soon as there is no more, or never.
    tells_end: bool,
    told: Told,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes.
    Data(usize),
    /// Pending once; wakes at once.
    Yield,
    /// Pending until [`Probe::release`].
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Plain,
    Trailers,
    Error,
}

/// What a source says of its size.
#[derive(Clone, Copy, Debug)]
enum Told {
    Nothing,
    Exact,
    /// So many bytes too low, and too high.
    Range(u64, u64),
    /// Nothing, and the exact size when half of the data was given.
    Late,
    /// Something that need not be true.
    Any(u64, Option<u64>),
}

impl Script {
    /// Where the bytes of each frame of data begin and end.
    fn data(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let sizes = self.steps.iter().filter_map(|step| match step {
            Step::Data(size) => Some(*size),
            Step::Yield | Step::Wait => None,
        });
        let range = sizes.map(|size| {
            end += size;
            end - size..end
        });
        range.collect()
    }

    /// What an attempt sends that sends everything.
    fn frames(&self) -> Vec<Sent> {
        let mut frames: Vec<_> = self.data().into_iter().map(bytes).map(Sent::Data).collect();
        if self.end == End::Trailers {
            frames.push(Sent::Trailers(trailers()));
        }
        frames
    }

    fn size(&self) -> u64 {
        self.data().last().map_or(0, |last| last.end as u64)
    }

    /// Whether the last frame comes with the news that it is the last.
    fn tells_end_in_time(&self) -> bool {
        let at_once = matches!(self.steps.last(), Some(Step::Data(_)));
        self.tells_end && (self.end == End::Trailers || (self.end == End::Plain && at_once))
    }

    fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.end == End::Plain && self.tells_end
    }
}

/// Every byte of a body is another, so that no two can be exchanged.
fn bytes(range: Range<usize>) -> Vec<u8> {
    range.map(|at| u8::try_from(at).unwrap()).collect()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("x-trailer"),
        http::HeaderValue::from_static("t"),
    )])
}

struct Source(Arc<Probe>);

/// What the test sees of a [`Source`].
struct Probe {
    script: Script,
    data: Vec<Range<usize>>,
    /// How many chunks of data are alive, of all sources of one test.
    alive: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    steps: VecDeque<Step>,
    /// Frames of data given.
    given: usize,
    /// The end, the trailers or the error was given: nobody may poll any more.
    over: bool,
    polls: usize,
    waker: Option<Waker>,
    /// Where the frames of data are in memory.
    places: Vec<usize>,
    pollers: Vec<ThreadId>,
    dropped: bool,
}

#[derive(Debug)]
struct Broken;

impl Source {
    fn new(script: &Script, alive: &Arc<AtomicUsize>) -> (Self, Arc<Probe>) {
        let probe = Arc::new(Probe {
            script: script.clone(),
            data: script.data(),
            alive: Arc::clone(alive),
            state: Mutex::new(State {
                steps: script.steps.iter().copied().collect(),
                given: 0,
                over: false,
                polls: 0,
                waker: None,
                places: Vec::new(),
                pollers: Vec::new(),
                dropped: false,
            }),
        });
        (Self(Arc::clone(&probe)), probe)
    }
}

impl Probe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether it waits for [`release`](Self::release).
    fn is_blocked(&self) -> bool {
        matches!(self.state().steps.front(), Some(Step::Wait))
    }

    /// Lets a source go on that waits, and wakes who polled it last.
    fn release(&self) {
        let waker = {
            let mut state = self.state();
            if !matches!(state.steps.front(), Some(Step::Wait)) {
                return;
            }
            state.steps.pop_front();
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_end_stream(&self) -> bool {
        let state = self.state();
        self.script.tells_end
            && state.steps.is_empty()
            && (self.script.end == End::Plain || state.over)
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.state();
        let data = &self.data;
        let given = state.given.checked_sub(1).map_or(0, |last| data[last].end) as u64;
        let exact = data.last().map_or(0, |last| last.end) as u64 - given;
        let mut hint = SizeHint::new();
        match self.script.told {
            Told::Nothing => {}
            Told::Late if state.given * 2 < data.len() => {}
            Told::Exact | Told::Late => hint.set_exact(exact),
            Told::Range(below, above) => {
                hint.set_upper(exact + above);
                hint.set_lower(exact.saturating_sub(below));
            }
            Told::Any(lower, upper) => {
                hint.set_lower(lower.saturating_sub(given));
                if let Some(upper) = upper {
                    hint.set_upper(upper.max(lower).saturating_sub(given));
                }
            }
        }
        hint
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let probe = &self.0;
        let mut state = probe.state();
        assert!(!state.over, "the source was polled after its end");
        state.polls += 1;
        state.pollers.push(thread::current().id());
        let Some(step) = state.steps.front().copied() else {
            state.over = true;
            return Poll::Ready(match probe.script.end {
                End::Plain => None,
                End::Trailers => Some(Ok(Frame::trailers(trailers()))),
                End::Error => Some(Err(Broken)),
            });
        };
        match step {
            Step::Wait => {
                // as the contract has it: whoever polled last is woken, and nobody else
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Step::Yield => {
                state.steps.pop_front();
                drop(state);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Data(_) => {
                state.steps.pop_front();
                let range = probe.data[state.given].clone();
                let data = Bytes::from_owner(Chunk::new(bytes(range), &probe.alive));
                state.given += 1;
                state.places.push(data.as_ptr().addr());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // not if a test is failing
        if let Ok(mut state) = self.0.state.lock() {
            state.dropped = true;
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is broken")
    }
}

impl std::error::Error for Broken {}

/// Memory that knows when it is freed.
struct Chunk {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Chunk {
    fn new(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            bytes,
            alive: Arc::clone(alive),
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

// ===== a reader =====

/// What a body yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    Data(Vec<u8>),
    Trailers(HeaderMap),
    /// The source's own error.
    Broken,
    /// The error of an attempt that was replaced.
    Cut,
    End,
}

fn poll(body: &mut ReplayBody<Source>, waker: &Waker) -> (Poll<Sent>, Option<usize>) {
    let mut place = None;
    let polled = Pin::new(body).poll_frame(&mut Context::from_waker(waker));
    let sent = polled.map(|frame| match frame {
        None => Sent::End,
        Some(Err(error)) if error.is::<Broken>() => Sent::Broken,
        Some(Err(error)) => {
            let _: BoxError = error;
            Sent::Cut
        }
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => {
                place = Some(data.as_ptr().addr());
                Sent::Data(data.to_vec())
            }
            Err(frame) => Sent::Trailers(frame.into_trailers().unwrap()),
        },
    });
    (sent, place)
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An attempt, and what the model knows of it.
struct Attempt {
    body: Option<ReplayBody<Source>>,
    /// The source that it reads, by its number.
    source: usize,
    wakes: Arc<Wakes>,
    /// How often it had been woken when it was polled last.
    seen_wakes: usize,
    waits: Option<WaitsFor>,
    polled: bool,
    /// Frames and bytes sent.
    position: usize,
    sent: u64,
    /// Its last frame was the last one, and the source or the frame said so.
    told_end: bool,
    ended: Option<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    Source,
    Resume,
}

impl Attempt {
    fn new(body: ReplayBody<Source>, source: usize) -> Self {
        Self {
            body: Some(body),
            source,
            wakes: Arc::default(),
            seen_wakes: 0,
            waits: None,
            polled: false,
            position: 0,
            sent: 0,
            told_end: false,
            ended: None,
        }
    }

    fn is_woken(&self) -> bool {
        self.wakes.count() > self.seen_wakes
    }
}

// ===== the model =====

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    Once,
    Taped,
    Made,
}

/// What happens to the bodies and to the layer's handle.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Polls the newest attempt, or one before it, so often; `moved` to another task.
    Poll {
        back: usize,
        times: usize,
        moved: bool,
    },
    Release,
    Pause,
    Resume,
    TakeOver,
    DropBody {
        back: usize,
    },
    DropReplay,
}

struct Test {
    script: Script,
    limit: usize,
    kind: Kind,
    first_hint: SizeHint,
    alive: Arc<AtomicUsize>,
    made: Arc<Mutex<Vec<Arc<Probe>>>>,
    replay: Option<Replay<Source>>,
    attempts: Vec<Attempt>,
    /// The attempt that may read, if any may.
    owner: Option<usize>,
    paused: bool,
    /// Whether everything that the source gave can be given again.
    recorded: bool,
    /// Whether the end is known to the tape.
    complete: bool,
}

impl Test {
    fn new(script: &Script, limit: usize, with_factory: bool) -> Self {
        let alive = Arc::new(AtomicUsize::new(0));
        let (source, probe) = Source::new(script, &alive);
        let first_hint = source.size_hint();
        let made = Arc::new(Mutex::new(vec![probe]));
        let factory = with_factory.then(|| {
            let (script, alive, made) = (script.clone(), Arc::clone(&alive), Arc::clone(&made));
            BodyFactory::new(move || {
                let (source, probe) = Source::new(&script, &alive);
                made.lock().unwrap().push(probe);
                source
            })
        });
        let (body, replay) = ReplayBody::new(source, limit, factory);
        let kind = if script.is_empty() {
            Kind::Empty
        } else if with_factory {
            Kind::Made
        } else if first_hint.lower() > limit as u64 {
            Kind::Once
        } else {
            Kind::Taped
        };
        Self {
            script: script.clone(),
            limit,
            kind,
            first_hint,
            alive,
            made,
            replay: Some(replay),
            attempts: vec![Attempt::new(body, 0)],
            owner: Some(0),
            paused: false,
            recorded: kind == Kind::Taped,
            complete: false,
        }
    }

    fn source(&self, number: usize) -> Arc<Probe> {
        Arc::clone(&self.made.lock().unwrap()[number])
    }

    fn back(&self, back: usize) -> usize {
        (self.attempts.len() - 1).saturating_sub(back)
    }

    fn is_repeatable(&self) -> bool {
        match self.kind {
            Kind::Empty | Kind::Made => true,
            Kind::Once => false,
            Kind::Taped => self.recorded,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Poll { back, times, moved } => {
                let number = self.back(back);
                if moved {
                    self.attempts[number].wakes = Arc::default();
                    self.attempts[number].waits = None;
                }
                for _ in 0..times {
                    self.poll(number);
                }
            }
            Action::Release => {
                let made = self.made.lock().unwrap().clone();
                made.iter().for_each(|probe| probe.release());
            }
            Action::Pause => {
                if let Some(replay) = &self.replay {
                    replay.pause();
                    self.paused = matches!(self.kind, Kind::Taped | Kind::Made);
                }
            }
            Action::Resume => {
                if let Some(replay) = &self.replay {
                    replay.resume();
                    self.paused = false;
                }
            }
            Action::TakeOver => self.take_over(),
            Action::DropBody { back } => {
                let number = self.back(back);
                self.attempts[number].body = None;
            }
            Action::DropReplay => self.drop_replay(),
        }
        self.check();
    }

    fn take_over(&mut self) {
        let Some(replay) = &self.replay else {
            return;
        };
        let before = self.made.lock().unwrap().len();
        let body = replay.take_over();
        let sources = self.made.lock().unwrap().len();
        assert_eq!(body.is_some(), self.is_repeatable(), "the retry");
        let remade = usize::from(self.kind == Kind::Made);
        assert_eq!(sources, before + remade, "sources");
        let Some(body) = body else {
            return;
        };
        self.attempts.push(Attempt::new(body, sources - 1));
        self.owner = Some(self.attempts.len() - 1);
        self.paused = false;
        if self.kind == Kind::Made {
            self.complete = false;
            assert!(self.source(before - 1).state().dropped, "the old source");
        }
    }

    fn drop_replay(&mut self) {
        if self.replay.take().is_none() {
            return;
        }
        if self.attempts.len() == 1 {
            self.recorded = false;
        }
        if self.paused {
            self.paused = false;
            self.owner = None;
        }
    }

    /// Polls an attempt, and compares what it does with what it has to do.
    fn poll(&mut self, number: usize) {
        let is_owner = self.owner == Some(number) || self.kind == Kind::Empty;
        let frames = self.script.frames();
        let source = self.source(self.attempts[number].source);
        let attempt = &mut self.attempts[number];
        let Some(body) = &mut attempt.body else {
            return;
        };
        if self.kind == Kind::Once && attempt.ended.is_some() {
            // that body is the source itself
            return;
        }
        let said_end = body.is_end_stream();
        let polls = source.state().polls;
        let is_over = source.state().over;
        let given = source.state().given + usize::from(is_over && self.script.end == End::Trailers);
        let waker = Waker::from(Arc::clone(&attempt.wakes));
        attempt.seen_wakes = attempt.wakes.count();
        attempt.polled = true;
        attempt.waits = None;

        let (sent, place) = poll(body, &waker);

        let reads = source.state().polls - polls;
        let whole = attempt.position == frames.len() && self.script.end != End::Error;
        assert!(
            !said_end || matches!(sent, Poll::Pending | Poll::Ready(Sent::End)),
            "an attempt said that it had ended, and then: {sent:?}"
        );
        if attempt.ended.is_some() {
            assert_eq!((sent, reads), (Poll::Ready(Sent::End), 0), "after its end");
            return;
        }
        if self.kind == Kind::Empty {
            assert_eq!((&sent, reads), (&Poll::Ready(Sent::End), 0), "empty");
        } else if !is_owner {
            // its frames may all have been sent without anybody having known that they were all
            match &sent {
                Poll::Ready(Sent::End) => assert!(whole, "a replaced attempt was short"),
                Poll::Ready(Sent::Cut) => {
                    assert!(!attempt.told_end, "an attempt was cut that was whole");
                }
                other => panic!("a replaced attempt went on: {other:?}"),
            }
            assert_eq!(reads, 0, "a replaced attempt read the source");
        } else if attempt.position < given {
            let expected = Poll::Ready(frames[attempt.position].clone());
            assert_eq!((&sent, reads), (&expected, 0), "what was recorded");
        } else if self.complete {
            assert_eq!((&sent, reads), (&Poll::Ready(Sent::End), 0), "the end");
        } else if said_end && sent.is_ready() {
            assert_eq!(sent, Poll::Ready(Sent::End), "as it said");
        } else if self.paused {
            assert_eq!((&sent, reads), (&Poll::Pending, 0), "while paused");
            assert!(!attempt.told_end, "the end is known");
            attempt.waits = Some(WaitsFor::Resume);
        } else {
            assert_eq!(reads, 1, "the source has to be read, and once");
            assert!(sent.is_ready() || !attempt.told_end, "the end is known");
            if sent.is_pending() {
                attempt.waits = Some(WaitsFor::Source);
            }
        }
        if let Poll::Ready(sent) = sent {
            self.note(number, sent, place, reads > 0);
        }
    }

    /// Goes on by what an attempt has yielded; `read` says whether it comes from the source.
    fn note(&mut self, number: usize, sent: Sent, place: Option<usize>, read: bool) {
        let frames = self.script.frames();
        let source = self.source(self.attempts[number].source);
        let attempt = &mut self.attempts[number];
        match sent {
            frame @ (Sent::Data(_) | Sent::Trailers(_)) => {
                assert_eq!(Some(&frame), frames.get(attempt.position), "the frame");
                if let Sent::Data(data) = &frame {
                    attempt.sent += data.len() as u64;
                    let state = source.state();
                    assert_eq!(place, Some(state.places[attempt.position]), "a copy");
                }
                attempt.position += 1;
                let is_last = attempt.position == frames.len() && self.script.end != End::Error;
                attempt.told_end = is_last && self.script.tells_end_in_time();
                if read {
                    if attempt.sent > self.limit as u64 {
                        self.recorded = false;
                    }
                    let is_trailers = matches!(frame, Sent::Trailers(_));
                    self.complete = is_trailers || (attempt.told_end && self.recorded);
                }
                if matches!(frame, Sent::Trailers(_)) {
                    assert!(is_last);
                    attempt.ended = Some(Sent::End);
                }
            }
            last => {
                if read {
                    match last {
                        Sent::End => self.complete = true,
                        Sent::Broken => {
                            assert_eq!(attempt.position, frames.len());
                            self.recorded = false;
                            self.complete = true;
                        }
                        _ => {}
                    }
                }
                let is_broken = self.script.end == End::Error;
                match last {
                    Sent::End if self.kind != Kind::Empty => assert!(
                        attempt.position == frames.len() && !is_broken,
                        "an attempt was short"
                    ),
                    Sent::Broken => assert!(is_broken && read),
                    _ => {}
                }
                attempt.ended = Some(last);
            }
        }
    }

    /// What has to be so at any time.
    fn check(&self) {
        if let Some(replay) = &self.replay {
            assert_eq!(replay.is_possible(), self.is_repeatable(), "is_possible");
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            if let Some(body) = &attempt.body {
                self.check_framing(number, attempt, body);
                self.check_woken(number, attempt);
            }
        }
        self.check_memory();
    }

    fn check_framing(&self, number: usize, attempt: &Attempt, body: &ReplayBody<Source>) {
        let is_owner = self.owner == Some(number) || self.kind == Kind::Empty;
        let (hint, says_end) = (body.size_hint(), body.is_end_stream());
        // (one that cannot be sent again is the source itself)
        if !attempt.polled && (is_owner || number > 0) && self.kind != Kind::Once {
            assert_eq!(same(&hint), same(&self.first_hint), "the hint at the start");
            assert_eq!(says_end, self.kind == Kind::Empty, "the end at the start");
        }
        assert!(
            says_end || !attempt.told_end,
            "the last frame was not marked"
        );
        if !is_owner || attempt.ended.is_some() {
            return;
        }
        if !matches!(self.script.told, Told::Any(..)) {
            let left = self.script.size() - attempt.sent;
            assert!(hint.lower() <= left, "{hint:?} before {left}");
            assert!(
                hint.upper().is_none_or(|upper| left <= upper),
                "{hint:?} before {left}"
            );
        }
        if number == 0 && self.kind != Kind::Empty {
            let source = self.source(0);
            assert_eq!(same(&hint), same(&source.size_hint()), "the source's hint");
            if attempt.polled {
                assert_eq!(
                    says_end,
                    source.is_end_stream() || self.complete,
                    "the source's end"
                );
            }
        }
    }

    /// Whoever waits and could go on was woken.
    fn check_woken(&self, number: usize, attempt: &Attempt) {
        let Some(waits_for) = attempt.waits else {
            return;
        };
        let can_go_on = self.owner != Some(number)
            || match waits_for {
                WaitsFor::Resume => !self.paused,
                WaitsFor::Source => !self.source(attempt.source).is_blocked(),
            };
        assert!(
            !can_go_on || attempt.is_woken(),
            "attempt {number} waits for ever"
        );
    }

    fn check_memory(&self) {
        let alive = self.alive.load(Ordering::Relaxed);
        let kept = if self.recorded {
            self.source(0).state().given
        } else {
            0
        };
        if self.replay.is_some() && self.attempts.iter().any(|attempt| attempt.body.is_some()) {
            assert_eq!(alive, kept, "what is remembered");
        } else {
            assert!(alive <= kept, "what is remembered: {alive} > {kept}");
        }
    }

    /// Lets everything go on that can, as an executor does: polls whom it has not polled, and whom was woken.
    fn finish(mut self, drop_replay: bool) {
        if drop_replay {
            self.act(Action::DropReplay);
        } else {
            self.act(Action::Resume);
        }
        let mut turns = 2 * self.script.steps.len() + 4;
        loop {
            for number in 0..self.attempts.len() {
                let attempt = &self.attempts[number];
                if attempt.waits.is_none() || attempt.is_woken() {
                    self.poll(number);
                    self.check();
                }
            }
            let goes_on = |attempt: &Attempt| attempt.body.is_some() && attempt.ended.is_none();
            if !self.attempts.iter().any(goes_on) {
                break;
            }
            turns -= 1;
            assert!(turns > 0, "an attempt neither ends nor is woken");
            self.act(Action::Release);
        }
        self.replay = None;
        self.attempts.clear();
        assert_eq!(self.alive.load(Ordering::Relaxed), 0, "chunks are leaked");
        let made = self.made.lock().unwrap();
        assert!(
            made.iter().all(|probe| probe.state().dropped),
            "a source is leaked"
        );
    }
}

fn same(hint: &SizeHint) -> (u64, Option<u64>) {
    (hint.lower(), hint.upper())
}

// ===== chance =====

/// Bodies that rarely have to be waited for, so that threads meet in them; of at most 180 bytes.
fn long_scripts() -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        16 => (0_usize..4).prop_map(Step::Data),
        1 => Just(Step::Yield),
        1 => Just(Step::Wait),
    ];
    scripts_of(vec(step, 0..60))
}

fn scripts() -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        6 => (0_usize..6).prop_map(Step::Data),
        1 => Just(Step::Yield),
        2 => Just(Step::Wait),
    ];
    scripts_of(vec(step, 0..9))
}

fn scripts_of(steps: impl Strategy<Value = Vec<Step>>) -> impl Strategy<Value = Script> {
    let end = prop_oneof![
        3 => Just(End::Plain),
        2 => Just(End::Trailers),
        1 => Just(End::Error),
    ];
    let told = prop_oneof![
        2 => Just(Told::Nothing),
        3 => Just(Told::Exact),
        2 => (0_u64..9, 0_u64..9).prop_map(|(below, above)| Told::Range(below, above)),
        1 => Just(Told::Late),
        1 => (0_u64..40, any::<Option<u8>>())
            .prop_map(|(lower, upper)| Told::Any(lower, upper.map(u64::from))),
    ];
    (steps, end, any::<bool>(), told).prop_map(|(steps, end, tells_end, told)| Script {
        steps,
        end,
        tells_end,
        told,
    })
}

/// Most often above the length of the body.
fn limits() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 20_usize..64, 2 => 0_usize..20]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let back = || prop_oneof![4 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    let action = prop_oneof![
        10 => (back(), 1_usize..5, prop::bool::weighted(0.1))
            .prop_map(|(back, times, moved)| Action::Poll { back, times, moved }),
        3 => Just(Action::Release),
        2 => Just(Action::Pause),
        1 => Just(Action::Resume),
        2 => Just(Action::TakeOver),
        1 => back().prop_map(|back| Action::DropBody { back }),
        1 => Just(Action::DropReplay),
    ];
    vec(action, 0..16)
}

proptest! {
    // `PROPTEST_CASES` multiplies it
    #![proptest_config(ProptestConfig { cases: 16 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_body_does_what_a_vec_of_frames_would(
        script in scripts(),
        limit in limits(),
        with_factory in prop::bool::weighted(0.2),
        actions in actions(),
        drop_replay in any::<bool>(),
    ) {
        let mut test = Test::new(&script, limit, with_factory);
        test.check();
        for action in actions {
            test.act(action);
        }
        test.finish(drop_replay);
    }
}

// ===== two threads =====

/// What the layer does while the first attempt is read on another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    TakeOver,
    PauseAndTakeOver,
    PauseAndResume,
    Drop,
    PauseAndDrop,
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Reads a body to its end, and sleeps until it is woken, as a task does. Counts the frames.
fn read_parked(mut body: ReplayBody<Source>, frames: &AtomicUsize) -> Vec<Sent> {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut all = Vec::new();
    loop {
        if let Poll::Ready(sent) = poll(&mut body, &waker).0 {
            let goes_on = matches!(sent, Sent::Data(_));
            all.push(sent);
            frames.fetch_add(1, Ordering::Relaxed);
            if !goes_on {
                return all;
            }
            continue;
        }
        let mut patience = 10;
        while !unpark.woken.swap(false, Ordering::Acquire) {
            assert!(patience > 0, "the old attempt waits for ever");
            patience -= 1;
            thread::park_timeout(Duration::from_secs(1));
        }
    }
}

/// What an attempt yields that is neither replaced nor polled after its end.
fn all_of(script: &Script) -> Vec<Sent> {
    let mut all = script.frames();
    match script.end {
        End::Plain => all.push(Sent::End),
        End::Trailers => {}
        End::Error => all.push(Sent::Broken),
    }
    all
}

/// The layer does its part as soon as the first attempt has yielded so many frames, and while it goes on.
fn race(script: &Script, limit: usize, with_factory: bool, layer: Layer, after: usize) {
    let mut test = Test::new(script, limit, with_factory);
    let old = test.attempts.remove(0).body.unwrap();
    let replay = test.replay.take().unwrap();
    let frames = AtomicUsize::new(0);
    let made = Arc::clone(&test.made);
    let release = || {
        let made = made.lock().unwrap().clone();
        made.iter().for_each(|probe| probe.release());
    };

    let (old, retry) = thread::scope(|scope| {
        let old = scope.spawn(|| read_parked(old, &frames));
        for turn in 1.. {
            if frames.load(Ordering::Relaxed) >= after || old.is_finished() {
                break;
            }
            // the layer is to be awake when the moment comes, but the machine may have other work
            if turn % 256 == 0 {
                release();
                thread::yield_now();
            }
        }
        if !matches!(layer, Layer::TakeOver | Layer::Drop) {
            replay.pause();
        }
        let retry = match layer {
            Layer::TakeOver | Layer::PauseAndTakeOver => {
                let retry = replay.take_over();
                if retry.is_none() {
                    replay.resume();
                }
                retry
            }
            Layer::PauseAndResume => {
                replay.resume();
                None
            }
            Layer::Drop | Layer::PauseAndDrop => {
                drop(replay);
                None
            }
        };
        let retry = retry.map(|body| read_releasing(body, release));
        while !old.is_finished() {
            release();
            thread::yield_now();
        }
        (old.join().unwrap(), retry)
    });

    let all = all_of(script);
    let takes_over = matches!(layer, Layer::TakeOver | Layer::PauseAndTakeOver);
    match &retry {
        Some(retry) => assert_eq!(retry, &all, "the retry"),
        None if takes_over => assert!(
            test.kind == Kind::Once
                || (test.kind == Kind::Taped
                    && (script.size() > limit as u64 || script.end == End::Error)),
            "no retry of a body that can be sent again"
        ),
        None => {}
    }
    if old.last() == Some(&Sent::Cut) {
        assert!(
            retry.is_some() || layer == Layer::PauseAndDrop,
            "cut for nothing"
        );
        let sent = old.len() - 1;
        assert_eq!(
            old[..sent],
            all[..sent],
            "the old attempt, until it was cut"
        );
    } else if old.last() == Some(&Sent::End) && script.end == End::Trailers {
        panic!("trailers are lost: {old:?}");
    } else {
        assert_eq!(old, all, "the old attempt");
    }
    for probe in made.lock().unwrap().iter() {
        let mut pollers = probe.state().pollers.clone();
        pollers.dedup();
        assert!(pollers.len() <= 2, "both attempts read the source in turns");
        assert!(probe.state().dropped, "a source is leaked");
    }
    assert_eq!(test.alive.load(Ordering::Relaxed), 0, "chunks are leaked");
}

/// Reads a body to its end on this thread, and lets its source go on whenever it waits.
fn read_releasing(mut body: ReplayBody<Source>, release: impl Fn()) -> Vec<Sent> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        match poll(&mut body, Waker::noop()).0 {
            Poll::Pending => release(),
            Poll::Ready(sent) => {
                let goes_on = matches!(sent, Sent::Data(_));
                all.push(sent);
                if !goes_on {
                    return all;
                }
            }
        }
    }
    panic!("the retry does not end");
}

#[test]
fn a_source_may_be_taken_over_while_another_thread_reads_it() {
    let layers = prop_oneof![
        3 => Just(Layer::TakeOver),
        2 => Just(Layer::PauseAndTakeOver),
        1 => Just(Layer::PauseAndResume),
        1 => Just(Layer::Drop),
        1 => Just(Layer::PauseAndDrop),
    ];
    let rounds = (
        long_scripts(),
        0_usize..80,
        prop::bool::weighted(0.2),
        layers,
        0_usize..40,
    );
    let mut runner = TestRunner::deterministic();
    for _ in 0..1000 {
        let round = rounds.new_tree(&mut runner).unwrap().current();
        let (script, limit, with_factory, layer, after) = round;
        race(&script, limit, with_factory, layer, after);
    }
}
