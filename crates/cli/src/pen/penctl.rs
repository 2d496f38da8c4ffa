//! `penctl`: sends one command to a control port and prints the answer.

use crate::output::{complain, finish};
use classics::pen::{PENCTL_USAGE, PenctlArgs, PenctlError, PenctlTarget};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use sys::process::service_port;

/// Runs penctl(1).
pub fn main(words: &[String]) -> ExitCode {
    match PenctlArgs::parse(words) {
        Ok(args) => match ask(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                complain(&text);
                ExitCode::FAILURE
            }
        },
        Err(error @ PenctlError::Usage) => finish("penctl", PENCTL_USAGE, error.exit_status()),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_status().code())
        }
    }
}

/// Asks and prints. The answer is printed as it comes; the original does not judge it either.
fn ask(args: &PenctlArgs) -> Result<(), String> {
    let converse = |mut stream: Box<dyn Stream>| {
        let asked = stream.write_all(args.line.as_bytes());
        asked.and_then(|()| print(&mut *stream)).map_err(|error| error.to_string())
    };
    let unreachable = || PenctlError::Connect.to_string();
    match &args.target {
        PenctlTarget::Unix(path) => {
            converse(Box::new(UnixStream::connect(path).map_err(|_| unreachable())?))
        }
        PenctlTarget::Tcp { host, port } => {
            let unknown = |reason: String| PenctlError::Resolve(reason).to_string();
            let port = service_port(port).or_else(|| port.parse().ok());
            let port = port.ok_or_else(|| unknown("no such port".to_owned()))?;
            let addresses = (host.as_str(), port).to_socket_addrs();
            let addresses = addresses.map_err(|error| {
                let text = error.to_string(); // with what was attempted in front of the reason
                unknown(text.rsplit(": ").next().unwrap_or(&text).to_owned())
            })?;
            let mut connected = addresses.filter_map(|address| TcpStream::connect(address).ok());
            converse(Box::new(connected.next().ok_or_else(unreachable)?))
        }
    }
}

/// Either kind of connection.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn print(stream: &mut dyn Stream) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return stdout.flush(),
            Ok(count) => stdout.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The answer is over, whichever way the other side says so.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return stdout.flush(),
            Err(error) => return Err(error),
        }
    }
}
