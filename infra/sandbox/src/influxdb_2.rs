//! A private InfluxDB 2 with its own port, set-up, tokens and data.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result, failed},
    files::write_private,
    http::{Credentials, Reply, http, http_with, percent_encode},
    influxdb_program::TWO,
    launch::Launch,
    ports::Ports,
    random::random_hex,
    server::{Lifetime, Servers, life_of_one},
    settings::Kind,
};

/// Organisation and bucket: the default names in all programs of the pool. For InfluxQL the bucket
/// is a database of the same name.
const NAME: &str = "primepool";

/// The role that a token is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All permissions.
    Operator,
    /// Writes to the bucket.
    Writer,
    /// Reads from the bucket.
    Reader,
    /// Reads and writes: a producer reads back the metrics of its run.
    Producer,
}

impl Role {
    fn file(self) -> &'static str {
        match self {
            Self::Operator => "operator-token",
            Self::Writer => "writer-token",
            Self::Reader => "reader-token",
            Self::Producer => "producer-token",
        }
    }
}

/// A private InfluxDB 2 with the organisation, the bucket and the database `primepool`. Its folder
/// holds `influx-url` and a token for each [`Role`], all with mode 600.
#[derive(Debug)]
pub struct InfluxDb2 {
    servers: Servers,
}

life_of_one!(InfluxDb2);

impl InfluxDb2 {
    /// Starts a server with its data in `dir`, or starts the server in `dir` again with its data
    /// and tokens.
    ///
    /// # Errors
    /// InfluxDB 2 was not built or does not start, or the folder holds something else.
    pub fn start(dir: &Path, lifetime: &Lifetime) -> Result<Self> {
        let make = || program().map(|_| Kind::InfluxDb2);
        let servers = Servers::keep(dir, make, lifetime)?;
        servers.start(1)?;
        let this = Self { servers };
        if !this.token_file(Role::Producer).exists() {
            this.set_up()?;
        }
        Ok(this)
    }

    /// The server in `dir`, which was started before.
    ///
    /// # Errors
    /// There is no server in that folder.
    pub fn at(dir: &Path) -> Result<Self> {
        Servers::at(dir).map(|servers| Self { servers })
    }

    /// The path of the program, if it was built with `sandbox influxdb2 make` or is named by
    /// `PRIMEPOOL_INFLUXD_2`.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        program().ok()
    }

    /// Performs the initial set-up, which InfluxDB allows only once, and creates a token for each
    /// role.
    fn set_up(&self) -> Result<()> {
        let operator = random_hex(20)?;
        let set_up = json!({
            "username": "admin", "password": random_hex(20)?, "token": &operator,
            "org": NAME, "bucket": NAME, "retentionPeriodSeconds": 0,
        });
        let url = format!("{}/api/v2/setup", self.url()?);
        let done = json_of(http("POST", &url, None, &set_up.to_string())?)?;
        self.write_token(Role::Operator, &operator)?;
        let (org, bucket) = (text(&done, "/org/id")?, text(&done, "/bucket/id")?);
        for (role, actions) in [
            (Role::Writer, &["write"][..]),
            (Role::Reader, &["read"]),
            (Role::Producer, &["write", "read"]),
        ] {
            let resource = json!({"type": "buckets", "id": bucket, "orgID": org});
            let permission = |action| json!({"action": action, "resource": resource});
            let permissions: Vec<Value> = actions.iter().map(permission).collect();
            let authorization = json!({
                "orgID": org, "description": role.file(), "permissions": permissions,
            });
            let path = "/api/v2/authorizations";
            let made = self.ask(Role::Operator, "POST", path, &authorization.to_string())?;
            self.write_token(role, text(&json_of(made)?, "/token")?)?;
        }
        Ok(())
    }

    fn write_token(&self, role: Role, token: &str) -> Result<()> {
        write_private(&self.token_file(role), format!("{token}\n").as_bytes())
    }

    /// Sends a request to the API with the token of a role.
    ///
    /// # Errors
    /// The server does not answer. An HTTP error status is not an error here.
    pub fn ask(&self, role: Role, method: &str, path: &str, body: &str) -> Result<Reply> {
        let url = format!("{}{path}", self.url()?);
        http_with(
            method,
            &url,
            Some(Credentials::Token(&self.token(role)?)),
            body,
        )
    }

    /// `http://127.0.0.1:PORT`
    ///
    /// # Errors
    /// The folder is gone.
    pub fn url(&self) -> Result<String> {
        self.servers.read("influx-url")
    }

    /// The token of a role.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn token(&self, role: Role) -> Result<String> {
        self.servers.read(role.file())
    }

    /// The path of the file that holds the token of a role.
    #[must_use]
    pub fn token_file(&self, role: Role) -> PathBuf {
        self.servers.dir().join(role.file())
    }

    /// Runs an InfluxQL query with the reader's token; the answer is JSON.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn query(&self, influxql: &str) -> Result<Reply> {
        let path = format!("/query?db={NAME}&q={}", percent_encode(influxql));
        self.ask(Role::Reader, "POST", &path, "")
    }

    /// Runs a Flux query with the reader's token; the answer is CSV.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn flux(&self, flux: &str) -> Result<Reply> {
        let path = format!("/api/v2/query?org={NAME}");
        let body = json!({"query": flux, "type": "flux"}).to_string();
        self.ask(Role::Reader, "POST", &path, &body)
    }

    /// Writes line protocol, with timestamps in nanoseconds, with the writer's token.
    ///
    /// # Errors
    /// The server does not answer, or refuses the lines.
    pub fn write(&self, lines: &str) -> Result<()> {
        let path = format!("/api/v2/write?org={NAME}&bucket={NAME}&precision=ns");
        let reply = self.ask(Role::Writer, "POST", &path, lines)?;
        if reply.status == 204 {
            return Ok(());
        }
        Err(failed(format!(
            "InfluxDB refused the lines: {}",
            reply.body
        )))
    }
}

/// The path of the program: from the variable `PRIMEPOOL_INFLUXD_2`, or else of the program that
/// was built.
fn program() -> Result<PathBuf> {
    let named = env::var_os("PRIMEPOOL_INFLUXD_2").map(PathBuf::from);
    let path = named
        .filter(|path| path.is_file())
        .or_else(|| TWO.program());
    path.ok_or_else(|| {
        failed("there is no InfluxDB 2: make it with infra/local/setup.sh --influxdb2")
    })
}

/// The JSON object in the reply to a request that creates something (status 201).
fn json_of(reply: Reply) -> Result<Value> {
    let refused = |body: &str| failed(format!("InfluxDB 2 cannot be set up: {body}"));
    if reply.status != 201 {
        return Err(refused(&reply.body));
    }
    serde_json::from_str(&reply.body).map_err(|_| refused(&reply.body))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| -> Error { failed(format!("InfluxDB 2 did not say its {pointer}")) })
}

pub(crate) fn port_names() -> Vec<String> {
    vec!["http".to_owned()]
}

pub(crate) fn write_files(dir: &Path, ports: &Ports) -> Result<()> {
    let url = format!("http://127.0.0.1:{}\n", ports["http"]);
    write_private(&dir.join("influx-url"), url.as_bytes())
}

pub(crate) fn launch(dir: &Path, ports: &Ports) -> Result<Launch> {
    let data = |name: &str| dir.join("data").join(name).into_os_string();
    Ok(Launch::new(program()?, dir.join("log/influxd.log"))
        .arguments(["run", "--reporting-disabled", "--log-level=info"])
        .arguments([format!("--http-bind-address=127.0.0.1:{}", ports["http"])])
        .arguments(["--bolt-path".into(), data("influxd.bolt")])
        .arguments(["--sqlite-path".into(), data("influxd.sqlite")])
        .arguments(["--engine-path".into(), data("engine")])
        // Keep the program away from the user's own configuration.
        .environment([("HOME", dir)]))
}

pub(crate) fn is_ready(ports: &Ports) -> bool {
    let url = format!("http://127.0.0.1:{}/health", ports["http"]);
    http("GET", &url, None, "").is_ok_and(|reply| reply.status == 200)
}
