//! A private InfluxDB 1.x with its own ports, configuration, administrator and data.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Result, failed, file_error, usage},
    files::write_private,
    http::{Reply, http, percent_encode},
    influxdb_program::ONE,
    launch::Launch,
    ports::Ports,
    random::random_hex,
    server::{Lifetime, Servers, life_of_one},
    settings::{Kind, Settings},
};

const USER: &str = "primepool";

/// A private InfluxDB 1.x. Its folder holds `influx-url` and `influx-token` (`USER:PASSWORD` of the
/// administrator), both with mode 600.
#[derive(Debug)]
pub struct InfluxDb {
    servers: Servers,
}

life_of_one!(InfluxDb);

impl InfluxDb {
    /// Starts a server with its data in `dir`, or starts the server in `dir` again with its data
    /// and credentials.
    ///
    /// # Errors
    /// InfluxDB 1.x is not installed or does not start, or the folder holds something else.
    pub fn start(dir: &Path, lifetime: &Lifetime) -> Result<Self> {
        if !Settings::exists(dir) && dir.join("influx-token").exists() && dir.join("data").is_dir()
        {
            // The database of a run of an earlier version, which wrote no settings.
            let (server, ports) = (Kind::InfluxDb, Ports::new());
            Settings { server, ports }.write(dir)?;
        }
        let make = || find().map(|_| Kind::InfluxDb);
        let servers = Servers::keep(dir, make, lifetime)?;
        servers.start(1)?;
        let this = Self { servers };
        if !this.token_file().exists() {
            this.make_administrator()?;
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

    /// Whether this machine has an InfluxDB 1.x.
    #[must_use]
    pub fn is_installed() -> bool {
        find().is_ok()
    }

    /// The path of an InfluxDB 1.x newer than those of distributions, if it was built with `sandbox
    /// influxdb make`. Set the variable `PRIMEPOOL_INFLUXD` to this path to start servers of it.
    #[must_use]
    pub fn newer() -> Option<PathBuf> {
        ONE.program()
    }

    /// Creates the administrator. InfluxDB requires no login only for the first user: this fails if
    /// another process on this machine was faster.
    fn make_administrator(&self) -> Result<()> {
        let password = random_hex(20)?;
        let create = format!("CREATE USER {USER} WITH PASSWORD '{password}' WITH ALL PRIVILEGES");
        let url = format!("{}/query", self.url()?);
        let form = format!("q={}", percent_encode(&create));
        let reply = post_form(&url, None, &form)?;
        if reply.status != 200 || reply.body.contains("\"error\"") {
            return Err(failed(format!(
                "cannot make the administrator: {}",
                reply.body
            )));
        }
        write_private(
            &self.token_file(),
            format!("{USER}:{password}\n").as_bytes(),
        )
    }

    /// `http://127.0.0.1:PORT`
    ///
    /// # Errors
    /// The folder is gone.
    pub fn url(&self) -> Result<String> {
        self.servers.read("influx-url")
    }

    /// `USER:PASSWORD` of the administrator.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn token(&self) -> Result<String> {
        self.servers.read("influx-token")
    }

    /// The path of the file that holds the token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.servers.dir().join("influx-token")
    }

    /// The folder of the server.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.servers.dir()
    }

    /// Runs an InfluxQL query on a database; the name may be empty if the query needs none.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn query(&self, database: &str, influxql: &str) -> Result<Reply> {
        let form = format!(
            "db={}&q={}",
            percent_encode(database),
            percent_encode(influxql)
        );
        post_form(
            &format!("{}/query", self.url()?),
            Some(&self.token()?),
            &form,
        )
    }

    /// Writes line protocol, with timestamps in nanoseconds, to a database, which is created if
    /// necessary.
    ///
    /// # Errors
    /// The server does not answer, or refuses the lines.
    pub fn write(&self, database: &str, lines: &str) -> Result<()> {
        if database.is_empty() || database.contains(['"', '\\', '\n']) {
            return Err(usage(format!("'{database}' is not the name of a database")));
        }
        let url = format!(
            "{}/write?precision=ns&db={}",
            self.url()?,
            percent_encode(database)
        );
        let token = self.token()?;
        for reply in [
            self.query("", &format!("CREATE DATABASE \"{database}\""))?,
            http("POST", &url, Some(&token), lines)?,
        ] {
            if ![200, 204].contains(&reply.status) {
                return Err(failed(format!(
                    "InfluxDB refused the lines: {}",
                    reply.body
                )));
            }
        }
        Ok(())
    }
}

fn post_form(url: &str, login: Option<&str>, form: &str) -> Result<Reply> {
    // The server also reads form fields from the query string.
    http("POST", &format!("{url}?{form}"), login, "")
}

/// Finds a program `influxd` 1.x. Versions 2 and 3 are passed over: they need a set-up first.
fn find() -> Result<PathBuf> {
    let named = env::var_os("PRIMEPOOL_INFLUXD").map(PathBuf::from);
    let paths = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&paths).map(|folder| folder.join("influxd"));
    let usual = ["/usr/bin/influxd", "/usr/local/bin/influxd"].map(PathBuf::from);
    let mut candidates = named.into_iter().chain(usual).chain(on_path);
    let is_1 = |path: &PathBuf| {
        let output = Command::new(path).arg("version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"InfluxDB v1."))
    };
    candidates
        .find(is_1)
        .ok_or_else(|| failed("InfluxDB 1.x is not installed: run infra/local/setup.sh --metrics"))
}

pub(crate) fn port_names() -> Vec<String> {
    ["http", "backup"].map(str::to_owned).into()
}

pub(crate) fn write_files(dir: &Path, ports: &Ports) -> Result<()> {
    let url = format!("http://127.0.0.1:{}\n", ports["http"]);
    write_private(&dir.join("influx-url"), url.as_bytes())?;
    // A JSON string is also a TOML string.
    let quoted = |folder: &str| {
        serde_json::to_string(&dir.join("data").join(folder))
            .map_err(|error| usage(format!("the path {} is not UTF-8: {error}", dir.display())))
    };
    let text = format!(
        "# Made at each start.
reporting-disabled = true # nothing goes to the maker
bind-address = \"127.0.0.1:{backup}\" # for influxd backup

[meta]
dir = {meta}

[data]
dir = {data}
wal-dir = {wal}
query-log-enabled = false
cache-max-memory-size = 268435456
max-concurrent-compactions = 1 # the cores belong to the workers
# A run has a name of its own in a tag, so tags have many values in time.
max-series-per-database = 0
max-values-per-tag = 0

[http]
bind-address = \"127.0.0.1:{http}\"
auth-enabled = true
log-enabled = false
pprof-enabled = false

[monitor]
store-enabled = false

[continuous_queries]
enabled = false

[subscriber]
enabled = false

[logging]
level = \"info\"
suppress-logo = true
",
        backup = ports["backup"],
        http = ports["http"],
        meta = quoted("meta")?,
        data = quoted("data")?,
        wal = quoted("wal")?,
    );
    write_private(&dir.join("influxdb.conf"), text.as_bytes())
}

pub(crate) fn launch(dir: &Path) -> Result<Launch> {
    let log = dir.join("log/influxd.log");
    fs::write(&log, "").map_err(file_error("write", &log))?;
    let arguments = ["run", "-config"].map(Into::into);
    let configuration = dir.join("influxdb.conf").into_os_string();
    Ok(Launch::new(find()?, log)
        .arguments(arguments.into_iter().chain([configuration]))
        .environment([("HOME", dir)]))
}

pub(crate) fn is_ready(ports: &Ports) -> bool {
    let url = format!("http://127.0.0.1:{}/ping", ports["http"]);
    http("GET", &url, None, "").is_ok_and(|reply| reply.status == 204)
}
