//! A running `serve`, read through its log and steered by signals.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value as Json;

use super::site::signed;

/// How long anything may take before a test says what did not happen. A machine with two busy cores is slow, not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How often a file or a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A process that serves. It is killed when this is dropped.
pub(crate) struct Serving {
    child: Child,
    log: PathBuf,
    /// Where in the log this process began.
    from: u64,
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
}

impl Serving {
    /// Starts a command that serves, in the end, and waits until it listens.
    pub(crate) async fn start(command: Command, log: &Path) -> Self {
        let mut serving = Self::spawn(command, log);
        let started = serving.wait_event("service.started").await;
        let address = |field: &str| {
            let text = started[field].as_str().expect("an address");
            text.parse().expect("an address")
        };
        serving.public = address("listen.public");
        serving.ops = address("listen.ops");
        serving
    }

    /// Starts the command without waiting for anything.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        let from = file.metadata().expect("a log").len();
        let child = command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            child,
            log: log.to_owned(),
            from,
            public: nowhere,
            ops: nowhere,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this process has logged so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let mut file = File::open(&self.log).expect("the log");
        io::Seek::seek(&mut file, io::SeekFrom::Start(self.from)).expect("the log");
        file.read_to_string(&mut text).expect("the log is UTF-8");
        text
    }

    /// Lines of this kind that were logged so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Json> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str::<Json>(line).ok())
            .filter(|line| line["event"] == name)
            .collect()
    }

    /// Waits for a line of this kind.
    pub(crate) async fn wait_event(&mut self, name: &str) -> Json {
        wait_for(&format!("the log says `{name}`"), || {
            if let Some(found) = self.events(name).into_iter().next() {
                return Some(found);
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended without `{name}`: {}", self.log());
            None
        })
        .await
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(sent.success());
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.kill_group();
        self.child.wait().expect("gone");
    }

    /// The whole group: what strace traces would outlive strace.
    fn kill_group(&self) {
        let group = format!("-{}", self.id());
        // A group that is gone already is what is wanted.
        let _ended = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait_end(&mut self) -> ExitStatus {
        wait_for("the process ends", || {
            self.child.try_wait().expect("a child")
        })
        .await
    }

    /// Posts a signed delivery; the status, or why there is none.
    pub(crate) fn post(&self, body: &str) -> io::Result<u16> {
        let mut stream = self.begin(body, body.len())?;
        Ok(answer(&mut stream)?.0)
    }

    /// Sends the head of a signed delivery and the first bytes of its body.
    pub(crate) fn begin(&self, body: &str, bytes: usize) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.public)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!(
            "POST /webhooks/crisp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.public,
            body.len()
        );
        for (name, value) in signed(body) {
            head.extend([name, ": ", &value, "\r\n"]);
        }
        stream.write_all(format!("{head}\r\n{}", &body[..bytes]).as_bytes())?;
        Ok(stream)
    }

    /// Begins a request, and returns once the service has taken it up and waits for its body.
    pub(crate) fn begin_taken_up(&self, body: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.public)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!(
            "POST /webhooks/crisp HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n",
            self.public,
            body.len()
        );
        for (name, value) in signed(body) {
            head.extend([name, ": ", &value, "\r\n"]);
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut go_on)?;
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        Ok(stream)
    }

    /// Asks a path of a listener.
    pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        answer(&mut stream)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        self.kill_group();
        drop(self.child.wait());
    }
}

/// Reads an answer to its end: the status and the body.
pub(crate) fn answer(stream: &mut TcpStream) -> io::Result<(u16, String)> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other("no answer"))?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// Waits for something to be there, and says in a failure what was waited for.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}
