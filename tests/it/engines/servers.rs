//! Database servers for tests: named by a URL, or found on this machine and started for one run.
//!
//! A started server lives in a temporary folder on a Unix socket, under a supervising shell that waits on a pipe from this
//! process. However this process ends, a panic and `kill -9` included, the pipe closes, and the shell stops the server and
//! removes the folder.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// How long a server may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A server that we do not embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

/// Where a server is to come from.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// Somebody runs one for us.
    Url(String),
    /// The folder with its programs.
    Programs(PathBuf),
    /// Neither.
    Nothing { wanted: &'static str },
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests take servers from the environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Server {
    /// Looks for a URL, then for programs.
    pub(crate) fn find(self) -> Found {
        let (url, program, wanted) = match self {
            Self::Postgres => (
                "CRISP_SYNC_TEST_POSTGRES_URL",
                "initdb",
                "set CRISP_SYNC_TEST_POSTGRES_URL or install PostgreSQL",
            ),
            Self::MySql => (
                "CRISP_SYNC_TEST_MYSQL_URL",
                "mariadb-install-db",
                "set CRISP_SYNC_TEST_MYSQL_URL or install MariaDB",
            ),
        };
        if let Some(url) = variable(url) {
            return Found::Url(url);
        }
        self.programs(program)
            .map_or(Found::Nothing { wanted }, Found::Programs)
    }

    /// The folder with its programs.
    fn programs(self, program: &str) -> Option<PathBuf> {
        let mut folders: Vec<PathBuf> = variable("PATH")
            .iter()
            .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
            .collect();
        if self == Self::Postgres {
            let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
                .into_iter()
                .flatten()
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect();
            versions.sort();
            folders.extend(versions.into_iter().rev());
        }
        folders
            .into_iter()
            .find(|folder| folder.join(program).is_file())
    }

    /// The URL of a running server, without the name of a database; `None` where there is none to be had.
    ///
    /// With `CRISP_SYNC_TEST_REQUIRE=all`, none is a failure.
    pub(crate) fn url(self) -> Option<String> {
        static POSTGRES: OnceLock<Option<Running>> = OnceLock::new();
        static MYSQL: OnceLock<Option<Running>> = OnceLock::new();
        let running = match self {
            Self::Postgres => &POSTGRES,
            Self::MySql => &MYSQL,
        };
        let running = running.get_or_init(|| match self.find() {
            Found::Url(url) => Some(Running { url, _pipe: None }),
            Found::Programs(folder) => Some(self.start(&folder)),
            Found::Nothing { wanted } => {
                assert_ne!(
                    variable("CRISP_SYNC_TEST_REQUIRE").as_deref(),
                    Some("all"),
                    "no {self:?}: {wanted}"
                );
                None
            }
        });
        running.as_ref().map(|running| running.url.clone())
    }

    fn start(self, programs: &Path) -> Running {
        // `keep`: the supervisor removes it, after the server has stopped.
        let folder = tempfile::Builder::new()
            .prefix("crisp-sync-test-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let user = self.user();
        if let Some(user) = user {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let data = folder.join("data");
        match self {
            Self::Postgres => {
                initdb(user, programs, &data);
                // At once, and its own children with it.
                let server = postgres(user, programs, &data, &folder);
                let pipe = supervise(&server, "QUIT", &folder);
                wait_until(&folder, || is_up(&data));
                Running {
                    url: format!(
                        "postgres://postgres@localhost/postgres?host={}",
                        plain(&folder)
                    ),
                    _pipe: Some(pipe),
                }
            }
            Self::MySql => {
                mariadb_install(user, programs, &data);
                let socket = folder.join("mysql.sock");
                let server = mariadbd(user, programs, &data, &folder);
                let pipe = supervise(&server, "KILL", &folder);
                wait_until(&folder, || UnixStream::connect(&socket).is_ok());
                Running {
                    url: format!("mysql://root@localhost/mysql?socket={}", plain(&socket)),
                    _pipe: Some(pipe),
                }
            }
        }
    }

    /// Whom to become: both servers refuse to run as root.
    fn user(self) -> Option<&'static str> {
        let root = fs::metadata("/proc/self")
            .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
        root.then_some(match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        })
    }
}

/// A server that runs as long as this process.
#[derive(Debug)]
struct Running {
    url: String,
    /// Closed by the kernel when this process is gone.
    _pipe: Option<ChildStdin>,
}

/// A server of one story's own, which may be stopped and started, and PostgreSQL made a standby. Whoever is called `rotated`
/// needs a password there; everybody else is let in.
#[derive(Debug)]
pub(crate) struct OwnServer {
    kind: Server,
    /// Its data, its socket, and what it logs.
    folder: tempfile::TempDir,
    programs: PathBuf,
    settings: &'static [&'static str],
    /// Closed by the kernel when this process is gone.
    pipe: Option<ChildStdin>,
}

impl OwnServer {
    /// Makes one of PostgreSQL with these settings.
    pub(crate) fn start(settings: &'static [&'static str]) -> Option<Self> {
        Self::start_of(Server::Postgres, settings)
    }

    /// Makes one. `None` where it is not installed; `tests/zz_not_run.rs` says so. One that somebody runs for us is not
    /// ours to stop.
    pub(crate) fn start_of(kind: Server, settings: &'static [&'static str]) -> Option<Self> {
        let (program, url) = match kind {
            Server::Postgres => ("initdb", "CRISP_SYNC_TEST_POSTGRES_URL"),
            Server::MySql => ("mariadb-install-db", "CRISP_SYNC_TEST_MYSQL_URL"),
        };
        let Some(programs) = kind.programs(program) else {
            assert!(
                variable("CRISP_SYNC_TEST_REQUIRE").as_deref() != Some("all")
                    || variable(url).is_some(),
                "install what `{program}` is of"
            );
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("crisp-sync-test-own-")
            .tempdir()
            .expect("a temporary folder");
        let user = kind.user();
        if let Some(user) = user {
            run(Command::new("chown").arg(user).arg(folder.path()));
        }
        let mut server = Self {
            kind,
            folder,
            programs,
            settings,
            pipe: None,
        };
        let data = server.data();
        match kind {
            Server::Postgres => {
                initdb(user, &server.programs, &data);
                let rules = data.join("pg_hba.conf");
                let others = fs::read_to_string(&rules).expect("who is let in");
                let rule = "local all rotated scram-sha-256\n";
                fs::write(&rules, format!("{rule}{others}")).expect("written");
            }
            Server::MySql => mariadb_install(user, &server.programs, &data),
        }
        server.start_again();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the supervisor keeps the log; it is gone when the server is.
    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// How `user`, with their password, reaches a database there.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{user}@localhost/{database}?host={folder}")
    }

    /// How an app reaches a database there.
    pub(crate) fn app_url(&self) -> String {
        match self.kind {
            Server::Postgres => self.url("postgres", "postgres"),
            Server::MySql => {
                let socket = self.folder.path().join("mysql.sock");
                format!("mysql://root@localhost/mysql?socket={}", plain(&socket))
            }
        }
    }

    /// Stops it as an operator does: whoever is connected is cut.
    pub(crate) fn stop(&mut self) {
        drop(self.pipe.take());
        let run = self.run();
        wait_until(self.folder.path(), || !run.exists());
    }

    /// Starts it on what it left.
    pub(crate) fn start_again(&mut self) {
        let run = self.run();
        fs::create_dir(&run).expect("a folder");
        let (user, data, folder) = (self.kind.user(), self.data(), self.folder.path());
        if self.kind == Server::MySql {
            let socket = folder.join("mysql.sock");
            let server = mariadbd(user, &self.programs, &data, folder);
            self.pipe = Some(supervise(&server, "TERM", &run));
            wait_until(&run, || UnixStream::connect(&socket).is_ok());
            return;
        }
        let mut server = postgres(user, &self.programs, &data, folder);
        for setting in self.settings {
            server.args(["-c", setting]);
        }
        self.pipe = Some(supervise(&server, "INT", &run));
        wait_until(&run, || is_up(&data));
    }

    /// Has it follow somebody, who never says anything, from its next start on: it can be read and not written.
    pub(crate) fn becomes_a_standby(&self) {
        fs::write(self.data().join("standby.signal"), "").expect("written");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn initdb(user: Option<&str>, programs: &Path, data: &Path) {
    run(as_user(user, programs.join("initdb").as_os_str())
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ])
        .arg(data));
}

fn postgres(user: Option<&str>, programs: &Path, data: &Path, socket: &Path) -> Command {
    let mut server = as_user(user, programs.join("postgres").as_os_str());
    server.arg("-D").arg(data).arg("-k").arg(socket);
    server.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
    server
}

fn mariadb_install(user: Option<&str>, programs: &Path, data: &Path) {
    run(
        as_user(user, programs.join("mariadb-install-db").as_os_str()).args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            &format!("--datadir={}", plain(data)),
        ]),
    );
}

fn mariadbd(user: Option<&str>, programs: &Path, data: &Path, folder: &Path) -> Command {
    let mariadbd = ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd"]
        .into_iter()
        .map(PathBuf::from)
        .chain([programs.join("mariadbd")])
        .find(|path| path.is_file())
        .expect("mariadbd beside mariadb-install-db");
    let mut server = as_user(user, mariadbd.as_os_str());
    server.args([
        "--no-defaults",
        "--skip-networking",
        "--innodb-flush-log-at-trx-commit=0",
        &format!("--datadir={}", plain(data)),
        &format!("--socket={}", plain(&folder.join("mysql.sock"))),
        &format!("--pid-file={}", plain(&folder.join("pid"))),
    ]);
    server
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// The socket is there before the server is: this file tells.
fn is_up(data: &Path) -> bool {
    fs::read_to_string(data.join("postmaster.pid"))
        .is_ok_and(|status| status.contains("ready") || status.contains("standby"))
}

fn as_user(user: Option<&str>, program: &OsStr) -> Command {
    match user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={user}"))
                .args(["--init-groups", "--"])
                .arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Starts the server under a shell that stops it when our end of the pipe closes, or when it ends by itself.
fn supervise(server: &Command, signal: &str, folder: &Path) -> ChildStdin {
    const SCRIPT: &str = r#"
        signal=$1 folder=$2; shift 2
        "$@" </dev/null >"$folder/log" 2>&1 &
        server=$!
        read -r _
        kill -"$signal" "$server"
        wait "$server"
        rm -rf "$folder"
    "#;
    #[expect(
        clippy::zombie_processes,
        reason = "it outlives us, to clean up after us"
    )]
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT, "supervisor", signal])
        .arg(folder)
        .arg(server.get_program())
        .args(server.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // A group of its own: an interrupt at the terminal must reach us and not it.
        .process_group(0)
        .spawn()
        .expect("a shell");
    child.stdin.take().expect("a pipe")
}

fn wait_until(folder: &Path, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(
            started.elapsed() < START_TIMEOUT,
            "the server did not start: {}",
            fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
