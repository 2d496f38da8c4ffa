//! What a case plays on: two backends, the proxy in front of them, and a deadline.

use std::{
    io,
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Options,
    backend::{self, Backend, Behaviour},
    deadline::remaining,
    peer::Peer,
    ports::Claim,
    process::Process,
    report::{Check, Failure},
    template::{self, Ports},
};

/// The proxy under test, running and listening.
#[derive(Debug)]
pub struct Proxy {
    // Before the claim, so that the port is given back after the proxy has left it.
    process: Process,
    claim: Claim,
}

impl Proxy {
    /// Starts the command of `options` in front of `backends` and waits until it listens.
    ///
    /// # Errors
    /// When the command is wrong, ends, or does not listen before the deadline.
    pub fn start(options: &Options, backends: [u16; 2], deadline: Instant) -> Check<Self> {
        let claim =
            Claim::new().map_err(|error| Failure::new("a free port for the proxy", error))?;
        let ports = Ports { listener: claim.port(), backends };
        let words = template::expand(&options.command, ports)
            .map_err(|error| Failure::new("a proxy command", error))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(name) = &options.argv0 {
            command.arg0(name);
        }
        if !options.keep_stderr {
            command.stderr(Stdio::null());
        }
        let mut process = Process::spawn("the proxy", &mut command)?;
        process.wait_listening(claim.port(), deadline)?;
        Ok(Self { process, claim })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.claim.port()
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// Its exit status.
    pub fn check_alive(&mut self) -> Check {
        self.process.check_alive()
    }
}

/// Everything one case needs. Dropping it stops the proxy, then the backends.
#[derive(Debug)]
pub struct Stage {
    proxy: Proxy,
    backends: [Backend; 2],
    header_line: bool,
    deadline: Instant,
    scale: f64,
}

impl Stage {
    /// Starts two backends and the proxy; the case must be over after `budget`.
    ///
    /// # Errors
    /// When either does not start.
    pub fn new(options: &Options, behaviours: [Behaviour; 2], budget: Duration) -> Check<Self> {
        let deadline = Instant::now() + budget.mul_f64(options.timeout_scale);
        let start = |behaviour| {
            Backend::new(behaviour, options.header_line, deadline)
                .map_err(|error| Failure::new(format!("a backend ({behaviour:?})"), error))
        };
        let backends = [start(behaviours[0])?, start(behaviours[1])?];
        let ports = [backends[0].port(), backends[1].port()];
        let proxy = Proxy::start(options, ports, deadline)?;
        let (header_line, scale) = (options.header_line, options.timeout_scale);
        Ok(Self { proxy, backends, header_line, deadline, scale })
    }

    /// `limit` as the user's machine needs it (`--timeout-scale`).
    pub fn scaled(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.scale)
    }

    /// Connects a client through the proxy.
    ///
    /// # Errors
    /// When the proxy does not take the connection.
    pub fn connect(&self) -> Check<Peer> {
        self.connect_with(None)
    }

    /// Connects a client whose receive buffer is about `receive_buffer` bytes.
    ///
    /// # Errors
    /// When the proxy does not take the connection.
    pub fn connect_with(&self, receive_buffer: Option<usize>) -> Check<Peer> {
        let limit = remaining(self.deadline);
        let stream = backend::connect(self.proxy.port(), receive_buffer, limit)
            .map_err(|error| Failure::new("the proxy to take a connection", error))?;
        Peer::new("client", stream, self.deadline)
    }

    /// Connects a client; `None` if the proxy resets the connection before it is seen to be
    /// there.
    ///
    /// # Errors
    /// When the proxy does not take the connection.
    pub fn connect_unless_reset(&self) -> Check<Option<Peer>> {
        match backend::connect(self.proxy.port(), None, remaining(self.deadline)) {
            Ok(stream) => Peer::new("client", stream, self.deadline).map(Some),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(Failure::new("the proxy to take a connection", error)),
        }
    }

    /// The next connection that reaches either of two scripted backends.
    ///
    /// # Errors
    /// When none does before the deadline.
    pub fn accept(&self) -> Check<Peer> {
        let expected = "a connection to a backend";
        let stream = self.accept_either().map_err(|error| Failure::new(expected, error))?;
        let peer = Peer::new("backend", stream, self.deadline)?;
        if self.header_line {
            peer.skip_line()?;
        }
        Ok(peer)
    }

    /// A client through the proxy, and the backend's end of its session.
    ///
    /// # Errors
    /// Those of [`Stage::connect`] and [`Stage::accept`].
    pub fn session(&self) -> Check<(Peer, Peer)> {
        let client = self.connect()?;
        Ok((client, self.accept()?))
    }

    /// Fails when the proxy has ended.
    ///
    /// # Errors
    /// Its exit status.
    pub fn check_alive(&mut self) -> Check {
        self.proxy.check_alive()
    }

    fn accept_either(&self) -> io::Result<TcpStream> {
        let listeners = self.backends.each_ref().map(Backend::listener);
        let mut waiting = listeners.map(|listener| PollFd::new(listener, PollFlags::IN));
        let limit = Timespec::try_from(remaining(self.deadline)).map_err(io::Error::other)?;
        if poll(&mut waiting, Some(&limit))? == 0 {
            return Err(io::Error::other("none before the deadline"));
        }
        let is_first = waiting[0].revents().contains(PollFlags::IN);
        let (socket, _) = listeners[if is_first { 0 } else { 1 }].accept()?;
        Ok(socket.into())
    }
}
