//! nginx under `wrk`, and `iperf3`: many requests, and many bytes.

use super::place::{Place, Servers, check, command};
use crate::{Check, Failure, wait_for};

/// One nginx per port, each with a file of 10 kB.
pub fn start_nginx(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let dir = place.make_dir(&format!("nginx-{port}"))?;
        place.write(&format!("nginx-{port}/page"), [b'x'; 10_000])?;
        let config = NGINX.replace("{dir}", &dir).replace("{port}", &port.to_string());
        let config = place.write(&format!("nginx-{port}.conf"), config)?;
        let mut nginx = command("nginx", ["-p", &dir, "-c", &config, "-e", "stderr"]);
        servers.push(Box::new(place.server(&[port], &mut nginx)?));
    }
    Ok(servers)
}

/// Long connections, then one per request.
pub fn exercise_wrk(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    for connection in ["keep-alive", "close"] {
        let (url, header) =
            (format!("http://127.0.0.1:{port}/page"), format!("Connection: {connection}"));
        let args = ["-t2", "-c40", "-d2s", "--timeout", "5s", "-H", &header, &url];
        check_wrk(&place.client(&mut command("wrk", args))?)?;
    }
    Ok(())
}

/// `wrk` mentions errors only where there are any.
fn check_wrk(output: &str) -> Check {
    let line = |start: &str| output.lines().map(str::trim).find(|line| line.starts_with(start));
    let trouble = line("Non-2xx").or_else(|| line("Socket errors"));
    check(trouble.is_none(), "only status 200 and no socket error", trouble.unwrap_or_default())?;
    let rate = line("Requests/sec:").unwrap_or("no rate");
    check(!rate.ends_with(" 0.00") && rate != "no rate", "requests to be answered", rate)
}

/// One server; both backends lead to it, because a test's connections belong together.
pub fn start_iperf3(place: &Place, ports: &[u16]) -> Check<Servers> {
    let [host, port] = [place.host().to_string(), ports[0].to_string()];
    let mut iperf3 = command("iperf3", ["-s", "-B", &host, "-p", &port]);
    Ok(vec![Box::new(place.server(&ports[..1], &mut iperf3)?)])
}

/// To the server, and from it.
pub fn exercise_iperf3(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    run_iperf3(place, port, &[], check_iperf3)
}

/// A second to the server and a second from it, two streams each, with more options; `check` sees
/// the report of each.
///
/// # Errors
/// What `check` says, or when iperf3 fails.
pub fn run_iperf3(
    place: &Place,
    port: u16,
    options: &[&str],
    check: impl Fn(&str) -> Check,
) -> Check {
    let [host, port] = [place.host().to_string(), port.to_string()];
    let common = ["-c", &host, "-p", &port, "-t", "1", "-P", "2", "--json"];
    for direction in [&[][..], &["-R"]] {
        let args = [&common[..], options, direction].concat();
        // The server needs a moment after a test before it takes the next, and says so.
        let output = wait_for(place.deadline(), || {
            let output = place.client(&mut command("iperf3", &args));
            let is_busy = matches!(&output, Err(failure) if failure.seen.contains("busy"));
            (!is_busy).then_some(output)
        });
        let busy = || Err(Failure::new("iperf3 to run", "a busy server until the deadline"));
        check(&output.unwrap_or_else(busy)?)?;
    }
    Ok(())
}

fn check_iperf3(output: &str) -> Check {
    let result: serde_json::Value = serde_json::from_str(output).unwrap_or_default();
    let bytes = result["end"]["sum_received"]["bytes"].as_u64().unwrap_or(0);
    let error = &result["error"];
    check(error.is_null() && bytes > 0, "bytes received and no error", {
        format!("{bytes} bytes, error {error}")
    })
}

/// `user` is for a run as root, whose directories nobody else may enter.
const NGINX: &str = "
daemon off;
user root;
worker_processes 1;
pid {dir}/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000;
    server { listen 127.0.0.1:{port}; root {dir}; }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_reports_are_noticed() {
        assert!(check_wrk("  Socket errors: connect 0, read 3\nRequests/sec: 9.0").is_err());
        assert!(check_wrk("  Non-2xx or 3xx responses: 1\nRequests/sec: 9.0").is_err());
        assert!(check_wrk("Requests/sec:      0.00").is_err());
        assert!(check_wrk("").is_err());
        assert!(check_wrk("Requests/sec:  2000.00").is_ok());
        assert!(check_iperf3(r#"{"end":{"sum_received":{"bytes":5}}}"#).is_ok());
        assert!(check_iperf3(r#"{"error":"x","end":{"sum_received":{"bytes":5}}}"#).is_err());
        assert!(check_iperf3("").is_err());
    }
}
