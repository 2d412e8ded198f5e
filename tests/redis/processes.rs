//! Instances in processes of their own (`examples/shared_store.rs`): one of them prompts, whatever happens to it or to Redis.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::harness::{Server, milliseconds};

/// How long anything here may take, a lease of ten seconds included.
const PATIENCE: Duration = Duration::from_secs(40);
const ASKS: &str = "asks Alice for a code";

/// A process of the example, killed when it is dropped, and the lines it prints.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(program: &PathBuf, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line; the end of the output is an empty one.
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    #[track_caller]
    fn expect(&self, what: &str) {
        let line = self.line();
        assert!(line.contains(what), "in place of `{what}`: {line}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
        let _ = sender.send(String::new());
    });
    receiver
}

/// Redis, the authorization server and the API.
struct Scene {
    redis: Server,
    program: PathBuf,
    servers: Vec<String>,
    _serving: Process,
}

impl Scene {
    async fn set() -> Option<Self> {
        let redis = Server::start().await?;
        let program = example()?;
        let serving = Process::start(&program, &["serve"]);
        // the command to copy: … instance NAME REDIS_URL ISSUER API TOKEN
        let servers = loop {
            let line = serving.line();
            if let Some((_, command)) = line.split_once("-- instance ") {
                break command.split(' ').skip(2).map(str::to_owned).collect();
            }
        };
        Some(Self {
            redis,
            program,
            servers,
            _serving: serving,
        })
    }

    /// An instance at which Alice takes so many seconds to type a code.
    fn instance(&self, name: &str, seconds: &str) -> Process {
        let url = self.redis.url();
        let mut arguments = vec!["instance", name, &url];
        arguments.extend(self.servers.iter().map(String::as_str));
        arguments.push(seconds);
        Process::start(&self.program, &arguments)
    }
}

/// The example, which `cargo test` and `scripts/redis` build next to the tests.
fn example() -> Option<PathBuf> {
    let tests = env::current_exe().unwrap();
    let path = tests.parent()?.parent()?.join("examples/shared_store");
    if path.is_file() {
        return Some(path);
    }
    let is_required = env::var_os("TOWER_MFA_REQUIRE_REDIS").is_some_and(|value| value == "1");
    assert!(
        !is_required,
        "no {}: run cargo build --examples",
        path.display()
    );
    let line =
        b"SKIPPED: the example shared_store is not built; cargo build --examples does that\n";
    let _ = std::io::stderr().write_all(line);
    None
}

#[tokio::test]
async fn two_processes_make_one_prompt() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let first = scene.instance("first", "1");
    first.expect(ASKS);
    let second = scene.instance("second", "1");
    first.expect("200 OK after a prompt");
    second.expect("200 OK without a prompt");
    // and later ones make none
    scene
        .instance("third", "1")
        .expect("200 OK without a prompt");
}

#[tokio::test]
async fn the_next_process_prompts_when_the_one_that_did_is_killed() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let mut first = scene.instance("first", "600");
    first.expect(ASKS);
    let second = scene.instance("second", "0");
    first.child.kill().unwrap();
    let begun = Instant::now();
    second.expect(ASKS);
    let recovery = begun.elapsed();
    println!("another process asked {recovery:?} after the death of the one that had the lease");
    second.expect("200 OK after a prompt");
    assert!(recovery < Duration::from_secs(15), "{recovery:?}");
}

#[tokio::test]
async fn a_restart_of_redis_while_a_person_types_is_no_second_prompt() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    let first = scene.instance("first", "2");
    first.expect(ASKS);
    scene.redis.kill();
    scene.redis.run().await;
    first.expect("200 OK after a prompt");
    scene
        .instance("second", "2")
        .expect("200 OK without a prompt");
}

#[tokio::test]
async fn without_redis_each_process_prompts_for_itself() {
    let Some(mut scene) = Scene::set().await else {
        return;
    };
    scene.redis.kill();
    for name in ["first", "second"] {
        let begun = Instant::now();
        let instance = scene.instance(name, "0");
        instance.expect(ASKS);
        assert!(
            begun.elapsed() < milliseconds(5000),
            "{:?}",
            begun.elapsed()
        );
        // the second code may be the first one again, which the server refuses: then this is all
        drop(instance);
    }
}
