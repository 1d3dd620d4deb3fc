use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use primepool_sandbox::http;
use serde_json::{Value, json};

/// Key of an element reference in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A headless Chromium, driven by the W3C WebDriver protocol; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    /// URL of the WebDriver session.
    session: String,
}

impl Browser {
    /// Starts a browser with a window of this size, in pixels.
    pub fn start(width: u32, height: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver, which make test-all installs");
        let output = BufReader::new(driver.stdout.take().unwrap());
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let base = format!("http://127.0.0.1:{}/session", port.expect("a port"));
        let args = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
            format!("--window-size={width},{height}")
        ]);
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": args}}}});
        let told = call("POST", &base, &wanted);
        let session = told["sessionId"].as_str().unwrap();
        Self {
            driver,
            session: format!("{base}/{session}"),
        }
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Runs JavaScript in the page, as the body of a function; returns the function's value.
    pub fn evaluate(&self, body: &str) -> Value {
        self.post("execute/sync", &json!({"script": body, "args": []}))
    }

    /// The visible text of the page.
    pub fn text(&self) -> String {
        let text = self.evaluate("return document.body.innerText");
        text.as_str().unwrap().to_owned()
    }

    /// Clicks the first element that matches a CSS selector.
    pub fn click(&self, selector: &str) {
        let by = json!({"using": "css selector", "value": selector});
        let found = self.post("element", &by);
        let element = found[ELEMENT].as_str().unwrap();
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// A screenshot of the window, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let picture = call("GET", &format!("{}/screenshot", self.session), &Value::Null);
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    fn post(&self, command: &str, parameters: &Value) -> Value {
        call("POST", &format!("{}/{command}", self.session), parameters)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its WebDriver session.
        let _ = http("DELETE", &self.session, None, "");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn call(method: &str, url: &str, parameters: &Value) -> Value {
    let body = match parameters {
        Value::Null => String::new(),
        parameters => parameters.to_string(),
    };
    let reply = http(method, url, None, &body).unwrap();
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(reply.status, 200, "{method} {url}: {told}");
    told["value"].clone()
}
