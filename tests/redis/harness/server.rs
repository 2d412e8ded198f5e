//! [`Server`]: one process of Redis.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use redis::{Client, Cmd, Connection, FromRedisValue, RedisResult};
use tokio::time::Duration;

use super::{directory::Directory, eventually, milliseconds};

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(10);

/// A server, killed when it is dropped.
pub(crate) struct Server {
    port: u16,
    directory: Directory,
    settings: Vec<String>,
    password: Option<String>,
    child: Option<Child>,
}

impl Server {
    /// A single node; `None`, and a line that says so, if there is no Redis on this machine.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[], None).await
    }

    pub(crate) async fn start_with(settings: &[&str], password: Option<&str>) -> Option<Self> {
        if is_missing() {
            return None;
        }
        let mut settings: Vec<_> = settings
            .iter()
            .map(|setting| (*setting).to_owned())
            .collect();
        if let Some(password) = password {
            settings.extend(["--requirepass".to_owned(), password.to_owned()]);
        }
        let mut server = Self {
            port: free_port(),
            directory: Directory::new(),
            settings,
            password: password.map(str::to_owned),
            child: None,
        };
        server.run().await;
        Some(server)
    }

    /// Starts it, again if it was killed: on the same port, with nothing in it.
    pub(crate) async fn run(&mut self) {
        let log = File::create(self.directory.path().join("output")).unwrap();
        let mut command = Command::new(program().unwrap());
        // a file of settings comes first; what follows outdoes it
        let file = self.directory.path().join("sentinel.conf");
        if file.exists() {
            command.arg(file).arg("--sentinel");
        }
        let child = command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", self.directory.path().to_str().unwrap()])
            .args(["--save", "", "--appendonly", "no"])
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("the server answers", START, async || self.answers()).await;
    }

    fn answers(&self) -> bool {
        self.try_send::<String>("PING").is_ok()
    }

    pub(crate) fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Sends a command of its own, past the store.
    pub(crate) fn send<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_send(command).unwrap()
    }

    pub(crate) fn try_send<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut words = Cmd::new();
        for word in command.split(' ') {
            words.arg(word);
        }
        words.query(&mut self.try_connect()?)
    }

    /// Whether this section of its `INFO` has that; not while it does not answer.
    pub(crate) fn tells(&self, section: &str, what: &str) -> bool {
        let info = self.try_send::<String>(&format!("INFO {section}"));
        info.is_ok_and(|info| info.contains(what))
    }

    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    fn try_connect(&self) -> RedisResult<Connection> {
        let timeout = milliseconds(500);
        let connection = Client::open(self.url())?.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        Ok(connection)
    }

    /// What a client at the terminal sees, which need not be text.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Vec<u8> {
        let program = program().unwrap().with_file_name("redis-cli");
        let output = Command::new(program)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it is: its ports stay open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes the settings of a sentinel and starts it.
pub(crate) async fn sentinel(settings: &str) -> Server {
    let mut server = Server {
        port: free_port(),
        directory: Directory::new(),
        settings: Vec::new(),
        password: None,
        child: None,
    };
    fs::write(server.directory.path().join("sentinel.conf"), settings).unwrap();
    server.run().await;
    server
}

/// Whether there is no Redis here, which is said to whoever runs the tests.
fn is_missing() -> bool {
    let is_missing = program().is_none();
    if is_missing {
        let is_required = env::var_os("TOWER_MFA_REQUIRE_REDIS").is_some_and(|value| value == "1");
        assert!(!is_required, "no redis-server on PATH or in REDIS_SERVER");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!(
            "SKIPPED {test}: no redis-server on PATH or in REDIS_SERVER; scripts/redis installs one and runs these tests\n"
        );
        // the handle itself, since what `eprintln!` writes is hidden when a test passes
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    is_missing
}

fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("REDIS_SERVER") {
        return Some(path.into());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join("redis-server"))
        .find(|path| path.is_file())
}

/// A port that nobody has, and neither the one that a Cluster's nodes use besides, 10,000 further.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}
