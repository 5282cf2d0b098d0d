//! A metric of the user's own: a process that is started once, reads the truth and then every trial blend as npy (doubles,
//! rows x columns) from its standard input, and answers each blend with a number on a line.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use common::metrics::Matrix;
use common::store::npy::write_npy_to;
use common::{Error, Result};

/// How long a process may take to end after its input was closed.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the pipe to it holds, in bytes: the most that Linux gives without being asked for more.
const PIPE: libc::c_int = 1 << 20;

/// The command of a metric; the process starts with the first question.
pub struct Command {
    text: String,
    timeout: Duration,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Command {
    /// A command for the shell, and the seconds that an answer may take.
    pub fn new(text: &str, timeout_s: f64) -> Self {
        Self { text: text.into(), timeout: Duration::from_secs_f64(timeout_s), running: Mutex::new(None) }
    }

    /// The number for predictions of the same shape as the truth.
    ///
    /// # Errors
    /// [`Error::Failed`] where the process cannot be started, ends, says nothing in time or something else than a number.
    pub fn ask(&self, truth: &Matrix, values: &[f64]) -> Result<f64> {
        let mut place = self.running.lock().map_err(|_| self.failed("was left by a thread that failed"))?;
        let shape = [truth.rows(), truth.columns()];
        if place.is_none() {
            *place = Some(self.start(truth)?);
        }
        let Some(running) = place.as_mut() else { return Err(self.failed("was not started")) };
        self.put(running, &shape, values)?;
        let answer = match running.answers.recv_timeout(self.timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                let problem = format!("gave no answer in {} s", self.timeout.as_secs_f64());
                return Err(self.failed(&problem).hint(
                    "print one number a line for every array, and flush: `print(score, flush=True)`; `--set metric_timeout_s=N` waits longer",
                ));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended(running)),
        };
        let shown: String = answer.trim().chars().take(80).collect();
        match shown.parse::<f64>() {
            Ok(score) if score.is_finite() => Ok(score),
            _ => Err(self
                .failed(&format!("answered `{shown}`, expected one number"))
                .hint("print nothing else to standard output; messages go to standard error")),
        }
    }

    fn start(&self, truth: &Matrix) -> Result<Running> {
        let mut child = Process::new("sh")
            .args(["-c", &self.text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| self.failed(&format!("did not start: {e}")))?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        if let Some(questions) = &questions {
            // A pipe holds 64 KiB otherwise and is filled and emptied again and again for one array, both programs waiting for
            // each other each time. Where that much is not allowed, it stays so.
            // SAFETY: the descriptor is open, and the call changes the size of its buffer alone.
            unsafe { libc::fcntl(questions.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE) };
        }
        let (sender, receiver) = channel();
        // Reading apart from writing: a process that says much before it read everything would stop both.
        std::thread::spawn(move || {
            for line in answers.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok)) {
                if !line.trim().is_empty() && sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running = Running { child, questions, answers: receiver };
        let columns = truth.columns();
        let mut values = vec![0.0; truth.rows() * columns];
        values.chunks_exact_mut(columns).enumerate().for_each(|(row, out)| truth.read(row, 0..columns, out));
        self.put(&mut running, &[truth.rows(), columns], &values)?;
        Ok(running)
    }

    fn put(&self, running: &mut Running, shape: &[usize], values: &[f64]) -> Result<()> {
        let Some(questions) = running.questions.as_mut() else { return Err(self.failed("ended")) };
        match write_npy_to(questions, shape, values).and_then(|()| questions.flush()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended(running)),
        }
    }

    /// The process is gone, or no longer speaks.
    fn ended(&self, running: &mut Running) -> Error {
        running.questions = None;
        let how = match waited(&mut running.child) {
            Some(status) => format!("ended before it answered ({status})"),
            None => "closed its output before it answered".into(),
        };
        self.failed(&how).hint("see its messages above; it reads the truth and then arrays until its input ends")
    }

    fn failed(&self, how: &str) -> Error {
        Error::failed(format!("the metric command `{}` {how}", self.text))
    }
}

/// How a process ended, if it does in time.
fn waited(child: &mut Child) -> Option<std::process::ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < FAREWELL {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => return None,
        }
    }
    None
}

impl Drop for Running {
    fn drop(&mut self) {
        self.questions = None;
        if waited(&mut self.child).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str, timeout: f64) -> Result<f64> {
        let truth = [1.0, 2.0, 3.0];
        Command::new(text, timeout).ask(&Matrix::f64(&truth, 1).unwrap(), &[1.0, 2.0, 4.0])
    }

    #[test]
    fn a_command_answers_and_its_failures_are_told() {
        // Two arrays of a header of 128 bytes and three doubles.
        assert_eq!(ask("head -c 304 | wc -c", 10.0).unwrap(), 304.0);
        let says = |text: &str, timeout: f64, problem: &str| {
            let error = ask(text, timeout).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        };
        says("exit 3", 10.0, "ended before it answered (exit status: 3)");
        says("echo nan; cat >/dev/null", 10.0, "answered `nan`, expected one number");
        says("echo hello world; cat >/dev/null", 10.0, "answered `hello world`, expected one number");
        says("cat >/dev/null", 0.2, "gave no answer in 0.2 s");
    }
}
