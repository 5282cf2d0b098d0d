//! Chromium without a window, driven over its debugging pipe: what a page shows, says and asks for.
#![allow(dead_code, clippy::print_stderr, reason = "each target uses a part; a test that is skipped says why")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::debian;

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one tab.
pub struct Browser {
    process: Child,
    into: File,
    from: Receiver<Value>,
    session: String,
    sent: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// The name of an installed one.
fn name() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(works)
}

impl Browser {
    /// Starts it, with WebGL by a renderer that needs no GPU; none where no browser can be had, which is said.
    pub fn start() -> Option<Self> {
        if let Err(reason) = debian::install(|| name().is_some(), "--no-install-recommends chromium") {
            eprintln!("skipped: no page is opened: {reason}");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let at = |part: &str| profile.path().join(part).display().to_string();
        let pipes = [at("into"), at("from")];
        assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
        // A screenshot would hide the bars for scrolling and leave the page wider until something moves.
        let options = "--headless --hide-scrollbars --no-sandbox --no-first-run --disable-quic --disable-sync --disable-background-networking \
                       --disable-component-update --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader \
                       --remote-debugging-pipe";
        let script = format!(
            "exec {} {options} --user-data-dir='{}' about:blank 3<'{}' 4>'{}'",
            name()?,
            at("data"),
            pipes[0],
            pipes[1]
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        // The shell opens them in this order, and each waits for the other end.
        let into = File::options().write(true).open(&pipes[0]).unwrap();
        let mut out = File::open(&pipes[1]).unwrap();
        let (send, from) = channel();
        std::thread::spawn(move || {
            let (mut held, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
            while let Ok(n @ 1..) = out.read(&mut chunk) {
                held.extend_from_slice(&chunk[..n]);
                while let Some(end) = held.iter().position(|byte| *byte == 0) {
                    let message: Vec<u8> = held.drain(..=end).collect();
                    let Ok(value) = serde_json::from_slice(&message[..end]) else { return };
                    if send.send(value).is_err() {
                        return;
                    }
                }
            }
        });
        let mut browser =
            Self { process, into, from, session: String::new(), sent: 0, events: vec![], _profile: profile };
        let targets = browser.call("Target.getTargets", &json!({}));
        let tab = targets["targetInfos"].as_array().unwrap().iter().find(|t| t["type"] == "page").unwrap().clone();
        let attached = json!({ "targetId": tab["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", &attached)["sessionId"].as_str().unwrap().to_string();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    fn receive(&self) -> Value {
        self.from.recv_timeout(PATIENCE).expect("the browser answers")
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.into.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.receive();
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// Opens a file in a window of this size and waits until its scripts have run.
    pub fn open(&mut self, path: &Path, width: u32, height: u32) {
        self.resize(width, height);
        self.events.clear();
        self.call("Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive();
            self.events.push(event);
        }
        // Two frames: layout, and what is drawn after it.
        self.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r, 50))))");
    }

    /// Another size of the window.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// The value of an expression, after what it promises.
    pub fn js(&mut self, text: &str) -> Value {
        let asked = json!({ "expression": text, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{text}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// A mouse event: `mouseMoved`, `mousePressed`, `mouseReleased`.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// A key, pressed and let go.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key }));
        }
    }

    /// The whole page as a picture.
    pub fn shot(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        decoded(answer["data"].as_str().unwrap())
    }

    /// What the page wrote to the console, and errors of its scripts.
    pub fn complaints(&self) -> Vec<String> {
        let of = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];
        let said = self.events.iter().filter(|event| of.iter().any(|method| event["method"] == *method));
        said.map(|event| event["params"].to_string()).collect()
    }

    /// What the page asked for beside itself.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let urls = asked.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_string);
        urls.skip(1).filter(|url| !url.starts_with("blob:")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes of base64.
fn decoded(text: &str) -> Vec<u8> {
    let place = |digit: u8| match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let mut bytes = vec![];
    for four in text.as_bytes().chunks(4) {
        let word = four.iter().fold(0, |word, digit| (word << 6) | place(*digit)) << (6 * (4 - four.len()));
        let length = four.iter().filter(|digit| **digit != b'=').count().saturating_sub(1);
        bytes.extend_from_slice(&word.to_be_bytes()[1..=length]);
    }
    bytes
}
