//! Open sessions that the kernel forwards, while new ones go another way.

use super::kernel::{BACKENDS, PATIENCE, Rig, echoes, said};
use super::kernel_upgrading::{has_doors, write};
use crate::support::{Client, Program, until};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

const TO: &str = "192.0.2.254:8080";

/// Starts an instance that has its configuration in a file.
#[track_caller]
fn start(rig: &Rig) -> Program {
    rig.start(&format!("run {}", rig.place.file("proxy.toml").display()))
}

/// Sessions of the kernel, with the backends that they have reached, when they have been counted.
#[track_caller]
fn open(rig: &Rig, count: usize) -> Vec<(String, Client)> {
    let open = (0..count).map(|_| {
        let client = rig.connect("client", TO);
        (said(&client.0).0, client)
    });
    let open = open.collect();
    until("all to be counted", || rig.sum("sessions") == count as u64);
    open
}

/// Waits until each of these has a line, and checks that it names the backend.
#[track_caller]
fn check_lines(program: &Program, clients: &[String]) {
    for client in clients {
        let lines = || program.log.with(&format!("client={client} "));
        until("the session to have a line", || lines().len() == 1);
        assert!(lines()[0].contains(" backend=198.51.100."), "{:?}", lines());
    }
}

#[test]
fn sessions_stay_known_when_their_pool_leaves_the_kernel() {
    let Some(rig) = Rig::new() else { return };
    let probed = |address: &'static str| {
        rig.network.within("backend", || TcpListener::bind((address, 81)).unwrap())
    };
    let [_one, two] = ["198.51.100.1", "198.51.100.2"].map(probed);
    let configure = |engine: &str| {
        write(&rig, TO, engine, &BACKENDS[..2]);
        let mut file = std::fs::File::options();
        let mut file = file.append(true).open(rig.place.file("proxy.toml")).unwrap();
        let probes = "probe = 'tcp'\nprobe-port = 81\nprobe-interval = '500ms'\nfall = 2\n";
        writeln!(file, "{probes}on-down = 'end-sessions'").unwrap();
    };
    configure("kernel");
    let program = start(&rig);
    until("both to serve", || rig.spread(TO, 4).len() == 2);
    until("these to have ended", || rig.sum("sessions") == 0);
    let open = open(&rig, 4);
    let clients: Vec<_> =
        open.iter().map(|(_, client)| client.0.local_addr().unwrap().to_string()).collect();
    let (of_one, of_two): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|(backend, _)| backend == BACKENDS[0]);
    assert_eq!((of_one.len(), of_two.len()), (2, 2));
    configure("user");
    rig.ctl("reload");
    assert_eq!(rig.sum("sessions"), 4);
    until("clients to be led to the process", || !has_doors(&rig));
    assert_eq!(rig.sum("sessions"), 4);
    let listed = rig.place.ctl("sessions --json").check(0).stdout;
    assert_eq!(listed.matches("198.51.100.254:").count(), 4, "{listed}");
    // Their bytes are counted.
    let bytes = rig.sum("sent_bytes_total");
    (&of_one[0].1.0).write_all(&[0; 5000]).unwrap();
    (&of_one[0].1.0).read_exact(&mut [0; 5000]).unwrap();
    until("these bytes to be counted", || rig.sum("sent_bytes_total") >= bytes + 5000);
    // A drain waits for them.
    rig.ctl("drain web/0.0");
    of_one.iter().for_each(|(_, client)| echoes(client));
    assert_eq!(program.log.with("backend drained").len(), 0);
    drop(of_one);
    program.log.wait("backend drained");
    // So does what ends those of a backend that is down.
    drop(two);
    program.log.wait("backend down");
    for (_, client) in &of_two {
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        until("the client's session to be reset", || {
            let mut bytes = [0; 4];
            let said =
                (&client.0).write_all(b"ping").and_then(|()| (&client.0).read_exact(&mut bytes));
            said.is_err_and(|it| it.kind() == ErrorKind::ConnectionReset)
        });
    }
    check_lines(&program, &clients);
}

#[test]
fn sessions_stay_known_and_count_for_a_limit_that_comes_later() {
    let Some(rig) = Rig::new() else { return };
    write(&rig, TO, "kernel", &BACKENDS[..1]);
    let program = start(&rig);
    let mut clients = open(&rig, 3);
    rig.ctl("limit web/0.0 2");
    program.log.wait("the kernel does not forward; this process serves");
    until("clients to be led to the process", || !has_doors(&rig));
    assert_eq!(rig.sum("sessions"), 3);
    let is_served = || {
        let client = rig.connect("client", TO);
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        (&client.0).read(&mut [0]).is_ok_and(|count| count > 0)
    };
    assert!(!is_served());
    clients.iter().for_each(|(_, client)| echoes(client));
    clients.truncate(1);
    until("one to be left", || rig.sum("sessions") == 1);
    assert!(is_served());
}

#[test]
fn sessions_stay_known_when_their_backend_has_another_address() {
    let Some(rig) = Rig::new() else { return };
    let configure = |address: &str| {
        let text = format!(
            "[listeners.web]\nbind = '{TO}'\npool = 'web'\n[pools.web]\nengine = 'kernel'\n\
             backends = [{{ to = '{address}', name = 'it' }}]\n"
        );
        std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
    };
    configure(BACKENDS[0]);
    let program = start(&rig);
    let clients = open(&rig, 2);
    configure(BACKENDS[1]);
    rig.ctl("reload");
    assert_eq!(rig.sum("sessions"), 2);
    until("the other address to serve", || rig.ask("client", TO).0 == BACKENDS[1]);
    clients.iter().for_each(|(_, client)| echoes(client));
    rig.ctl("drain web/0.0");
    assert_eq!(program.log.with("backend drained").len(), 0);
    drop(clients);
    program.log.wait("backend drained");
    until("all to have a line", || program.log.with("session ended").len() >= 3);
    assert_eq!(program.log.with("backend=-"), [""; 0]);
}
