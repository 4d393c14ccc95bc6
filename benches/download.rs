//! A large file whole, from the page cache. The baselines are reading it, and sending it with nothing in between: with
//! nginx where it is installed, and by the kernel alone (`sendfile` into a socket of this process).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder};
use sha2::{Digest as _, Sha256};

use crate::support::{Home, MIB, Server, Times, Unit, noise, print, print_note, send};

const LENGTH: usize = 500 << 20;
const SAMPLES: usize = 6;
const FILE: &str = "/api/v1/models/admin/download/files/model.bin";

pub(crate) async fn run() -> anyhow::Result<()> {
    let home = Home::new()?;
    let server = Server::start(&home)?;
    server.create_model("admin/download").await?;
    let plain = home.path().join("plain.bin");
    let digest = {
        let content = noise(LENGTH, 99);
        fs::write(&plain, &content)?;
        let digest = Sha256::digest(&content);
        send(server.request(Method::PUT, FILE).body(content)).await?;
        digest
    };
    let found = Sha256::digest(send(server.request(Method::GET, FILE)).await?.bytes().await?);
    ensure!(found == digest, "what came back is not what was sent");

    let mut downloads = Times::default();
    let mut resolved = Times::default();
    let mut reading = Times::default();
    let mut kernel = Times::default();
    let mut by_nginx = Times::default();
    let address = serve_plainly(plain.clone())?;
    let nginx = Nginx::start(&home)?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    // In turns, so that whatever else the machine does meets all alike.
    for _ in 0..SAMPLES {
        downloads.wait(receive(server.request(Method::GET, FILE))).await?;
        resolved.wait(receive(server.request(Method::GET, "/admin/download/resolve/main/model.bin"))).await?;
        kernel.wait(receive(http.get(format!("http://{address}/")))).await?;
        if let Some(nginx) = &nginx {
            by_nginx.wait(receive(http.get(format!("http://{}/plain.bin", nginx.address)))).await?;
        }
        reading.take(|| Ok(io::copy(&mut File::open(&plain)?, &mut io::sink().by_ref())?))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let amount = Unit::Rate(LENGTH as f64 / MIB, "MiB/s");
    let mut baselines = vec![("sendfile", &kernel)];
    if nginx.is_some() {
        baselines.push(("nginx", &by_nginx));
    }
    print("download of 500 MiB over REST", &downloads, amount, &baselines);
    print("download of 500 MiB as Hugging Face clients do", &resolved, amount, &baselines);
    print("  baseline: sendfile over loopback", &kernel, amount, &[]);
    match nginx {
        Some(_) => print("  baseline: nginx", &by_nginx, amount, &[]),
        None => print_note("  nginx: not installed"),
    }
    print("  baseline: read of the file alone", &reading, amount, &[]);
    Ok(())
}

/// Receives a whole answer and lets it go.
async fn receive(request: RequestBuilder) -> anyhow::Result<()> {
    let mut body = send(request).await?.bytes_stream();
    let mut length = 0;
    while let Some(piece) = body.next().await {
        length += piece?.len();
    }
    ensure!(length == LENGTH, "{length} bytes came");
    Ok(())
}

/// Answers every request with the file, by the shortest way there is.
fn serve_plainly(file: std::path::PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // A client that leaves early is its own affair.
            drop(answer(socket, &file));
        }
    });
    Ok(address)
}

fn answer(mut socket: TcpStream, file: &Path) -> io::Result<()> {
    use io::BufRead as _;
    let mut lines = io::BufReader::new(socket.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    write!(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n")?;
    io::copy(&mut File::open(file)?, &mut socket)?;
    Ok(())
}

/// An nginx that serves the home folder; it ends with this value.
struct Nginx {
    address: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Starts nginx where it is installed.
    fn start(home: &Home) -> anyhow::Result<Option<Self>> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = home.path().display();
        let user = if nix::unistd::Uid::effective().is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log;
            events {{}}
            http {{ access_log off; sendfile on; server {{ listen {address}; root {folder}; }} }}"
        );
        let place = home.path().join("nginx.conf");
        fs::write(&place, config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&place).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                let nginx = Self { address, child };
                nginx.wait()?;
                Ok(Some(nginx))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self) -> anyhow::Result<()> {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None.context("nginx does not start")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        use nix::{
            sys::signal::{Signal, kill},
            unistd::Pid,
        };
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).ok();
        drop(self.child.wait());
    }
}
