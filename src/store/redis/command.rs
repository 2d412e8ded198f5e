//! [`Command`]: the few things that Redis is asked to do.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Script, cmd};

/// Sets the holder if there is none, or gives the holder more time.
static LEASE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
         if redis.call('GET', KEYS[1]) == ARGV[1] then \
           return redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
         end \
         return 0",
    )
});

/// Deletes a lease if the holder still has it.
static RELEASE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
         return 0",
    )
});

/// Deletes a value that begins with one of the arguments, all of which have the same length.
static REMOVE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        "local head = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) \
         for _, candidate in ipairs(ARGV) do \
           if head == candidate then return redis.call('DEL', KEYS[1]) end \
         end \
         return 0",
    )
});

/// A script and the hash by which a server that has seen it knows it.
struct Lua {
    code: &'static str,
    hash: String,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            hash: Script::new(code).get_hash().to_owned(),
        }
    }
}

/// The longest time to live that is asked for, since Redis refuses those that overflow when added to its clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A command, and the same in full if it is a script that the server may not know by its hash.
///
/// A script is not loaded but sent once more: that reaches the right node of a Cluster, and takes one round trip.
pub(super) struct Command {
    pub(super) command: Cmd,
    pub(super) in_full: Option<Cmd>,
}

impl Command {
    pub(super) fn get(key: &str) -> Self {
        let mut command = cmd("GET");
        command.arg(key);
        Self::plain(command)
    }

    pub(super) fn set(key: &str, value: &[u8], time_to_live: Duration) -> Self {
        // Redis refuses a time of zero; what is over at once is as good as deleted
        let Some(millis) = millis(time_to_live) else {
            let mut command = cmd("DEL");
            command.arg(key);
            return Self::plain(command);
        };
        let mut command = cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(millis);
        Self::plain(command)
    }

    pub(super) fn remove(key: &str, heads: impl Iterator<Item = impl AsRef<[u8]>>) -> Self {
        let heads: Vec<_> = heads.map(|head| head.as_ref().to_vec()).collect();
        let arguments: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
        Self::script(&REMOVE, key, &arguments)
    }

    pub(super) fn lease(key: &str, holder: &str, time_to_live: Duration) -> Self {
        let millis = millis(time_to_live).unwrap_or(1).to_string();
        Self::script(&LEASE, key, &[holder.as_bytes(), millis.as_bytes()])
    }

    pub(super) fn release(key: &str, holder: &str) -> Self {
        Self::script(&RELEASE, key, &[holder.as_bytes()])
    }

    fn plain(command: Cmd) -> Self {
        Self {
            command,
            in_full: None,
        }
    }

    fn script(script: &Lua, key: &str, arguments: &[&[u8]]) -> Self {
        let build = |name: &str, script: &str| {
            let mut command = cmd(name);
            command.arg(script).arg(1).arg(key).arg(arguments);
            command
        };
        Self {
            command: build("EVALSHA", &script.hash),
            in_full: Some(build("EVAL", script.code)),
        }
    }
}

/// Whole milliseconds, `None` if there is not one.
fn millis(time_to_live: Duration) -> Option<u64> {
    let millis = time_to_live.min(LONGEST).as_millis();
    u64::try_from(millis).ok().filter(|millis| *millis > 0)
}
