//! [`Prompt`]: asks the person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tower_mfa::{
    Authenticator, BoxError, Challenge, Code, CodeError, CodeProvider, Factor, RequestHead, Secret,
};

/// Asks on stderr, so that stdout holds the result only, and reads answers from stdin: a terminal or a pipe.
///
/// A thread of its own reads stdin, because nothing can interrupt a blocking read: when the layer drops a prompt (the
/// deadline passed, the caller went away), the thread just waits for the next line, and the runtime does not wait for it.
///
/// What is typed can be seen: a code is short-lived, and whoever mistypes should see it. The line is cleared as soon as it was
/// entered. Hiding it would mean to switch the terminal's echo off, and to leave it off if the program is killed.
pub(crate) struct Prompt {
    lines: Mutex<mpsc::UnboundedReceiver<Secret>>,
}

impl Prompt {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, lines) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                for line in io::stdin().lock().lines().map_while(Result::ok) {
                    if sender.send(Secret::new(line)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            lines: Mutex::new(lines),
        })
    }

    /// Asks for a line. An empty one, `q` or Ctrl-C is a refusal; the end of the input means that nobody is there.
    async fn line(&self, question: &str) -> Result<Secret, CodeError> {
        // two requests at once must not ask into each other's answers
        let mut lines = self.lines.lock().await;
        if io::stdin().is_terminal() {
            // what was typed before the question is no answer to it
            while lines.try_recv().is_ok() {}
        }
        show(question);
        let mut end = AtEnd("\n");
        let line = tokio::select! {
            line = lines.recv() => line.ok_or(CodeError::NotInteractive),
            _ = tokio::signal::ctrl_c() => Err(CodeError::Declined),
        };
        if line.is_ok() && io::stdin().is_terminal() {
            // the Enter key has ended the line
            end.0 = "";
        }
        line.and_then(|line| match line.expose().trim() {
            "" | "q" => Err(CodeError::Declined),
            _ => Ok(line),
        })
    }
}

impl CodeProvider for Prompt {
    fn wants_to_choose(&self) -> bool {
        true
    }

    async fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> Result<usize, CodeError> {
        let (method, path) = (request.method(), request.uri().path());
        eprintln!("{method} {path} needs a second factor. You have:");
        for (place, authenticator) in authenticators.iter().enumerate() {
            let name = name(authenticator.factor(), authenticator.name());
            eprintln!("  {}  {name}", place + 1);
        }
        let question = format!("Which one, 1 to {} (q to give up)? ", authenticators.len());
        loop {
            let answer = self.line(&question).await?;
            match answer.expose().trim().parse::<usize>() {
                Ok(place) if (1..=authenticators.len()).contains(&place) => return Ok(place - 1),
                _ => eprintln!("That is none of the numbers."),
            }
        }
    }

    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        if let Some(reason) = challenge.last_rejection() {
            eprintln!("Not accepted: {reason}.");
        }
        let from = name(challenge.factor(), challenge.destination());
        eprintln!(
            "Code from your {from}. Attempts left: {}.",
            challenge.attempts_left()
        );
        let answer = self
            .line("Code (or `r` and a recovery code; q to give up): ")
            .await?;
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            // up one line and clear it: no code stays on the screen
            show("\x1b[A\x1b[2K");
        }
        let answer = answer.expose().trim();
        Ok(match answer.strip_prefix("r ") {
            Some(code) => Code::recovery(code),
            None if challenge.factor() == Factor::RecoveryCode => Code::recovery(answer),
            None => Code::new(answer),
        })
    }

    async fn awaiting_approval(&self, challenge: Challenge) -> Result<(), CodeError> {
        let device = challenge.destination().unwrap_or("your device").to_owned();
        match challenge.number() {
            Some(number) => eprintln!("Pick {number} on {device} (Ctrl-C to give up)."),
            None => eprintln!("Approve on {device} (Ctrl-C to give up)."),
        }
        // the layer drops this future when the approval is there, and the spinner with it
        tokio::select! {
            () = spin() => Ok(()),
            _ = tokio::signal::ctrl_c() => Err(CodeError::Declined),
        }
    }

    async fn new_recovery_code(&self, code: Secret) -> Result<(), BoxError> {
        eprintln!(
            "Your recovery code is used up. Write the new one down: {}",
            code.expose()
        );
        Ok(())
    }
}

/// Shows the seconds that passed, until it is dropped.
async fn spin() {
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _clear = AtEnd("\r\x1b[2K");
    let began = Instant::now();
    for sign in ['|', '/', '-', '\\'].into_iter().cycle() {
        show(&format!("\r{sign} {} s", began.elapsed().as_secs()));
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

/// Prints something when it is dropped: so also when the layer gives a prompt up.
struct AtEnd(&'static str);

impl Drop for AtEnd {
    fn drop(&mut self) {
        show(self.0);
    }
}

fn show(text: &str) {
    // a terminal that is gone is no reason to fail: nobody would see the failure
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// What a person calls it, with the destination as far as the server shows it.
fn name(factor: Factor, destination: Option<&str>) -> String {
    let kind = match factor {
        Factor::Email => "email",
        Factor::Otp => "authenticator app",
        Factor::Push => "approval",
        Factor::RecoveryCode => "list of recovery codes",
        Factor::Sms => "text message",
        Factor::Voice => "phone call",
        other => other.as_str(),
    };
    match destination {
        Some(destination) => format!("{kind} ({destination})"),
        None => kind.to_owned(),
    }
}
