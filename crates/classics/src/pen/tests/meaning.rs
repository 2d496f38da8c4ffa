//! The configuration that settings come to.

use super::*;

/// The configuration that a command line and commands come to.
fn config(line: &str, commands: &str) -> Config {
    let mut settings = start(line).unwrap();
    for command in commands.split(';') {
        run(&mut settings, command);
    }
    settings.to_config()
}

#[test]
fn modes_are_policies() {
    let policy = |options: &str| {
        let config = config(&format!("{options} 80 127.0.0.1"), "");
        let pool = &config.pools[0];
        (pool.tiers[0].policy, pool.affinity.unwrap().sticky)
    };
    assert_eq!(policy(""), (Policy::Rotation, true));
    assert_eq!(policy("-r"), (Policy::Rotation, false));
    assert_eq!(policy("-h"), (Policy::AddressHash, true));
    assert_eq!(policy("-rh"), (Policy::AddressPortHash, false));
    assert_eq!(policy("-N"), (Policy::AddressPortHash, false));
    assert_eq!(policy("-Wh"), (Policy::Weighted, true));
    assert_eq!(policy("-WhO prio"), (Policy::Priority, true));
}

#[test]
fn a_pool_has_places_for_all_servers() {
    let config = config(
        "-s -b 7 -c 9 -T 60 -x 3 -t 5 -e 127.0.0.9 -B [::9]:9 80 127.0.0.1:81:1:2:3:4",
        "server 3 address /s;server 2 address 127.0.0.3;server 4 address 0.0.0.0 port 80;pending_max 0",
    );
    let (listener, pool) = (&config.listeners[0], &config.pools[0]);
    let shown: Vec<String> = pool
        .tiers
        .iter()
        .flat_map(|tier| &tier.backends)
        .map(|backend| {
            format!(
                "{backend}{}",
                if backend.admin == balancing::AdminState::Disabled { " off" } else { "" }
            )
        })
        .collect();
    let all = shown.join(", ");
    assert!(
        all.contains("0.0.0.0:1 off, 127.0.0.3:1 off, unix:/s, 0.0.0.0:80 off, 127.0.0.9:80"),
        "{all}"
    );
    assert_eq!(
        pool.tiers[0].backends[0].limits,
        config::Limits { sessions_max: terms::Limit::AtMost(1), sessions_max_affine: 2 }
    );
    assert_eq!((pool.tiers[0].backends[0].weight, pool.tiers[0].backends[0].priority), (3, 4));
    assert_eq!(pool.failover_of(pool.tiers[0].policy), FailoverScope::Nothing);
    assert_eq!(pool.reject.as_ref().unwrap().endpoint.to_string(), "[::9]:9");
    assert_eq!(pool.quarantine, Duration::from_secs(7));
    let affinity = pool.affinity.unwrap();
    assert_eq!((affinity.clients_max, affinity.time_limit), (9, Some(Duration::from_secs(60))));
    assert_eq!((listener.sessions_max, listener.connecting_max), (Some(3), Some(1)));
    assert_eq!(listener.timeouts.connect, Duration::from_secs(5));
    assert!(!pool.last_resort && !pool.auto_disable);
}

#[test]
fn the_rest_of_the_settings_has_a_meaning_too() {
    let listener = |commands| config("80 127.0.0.1", commands).listeners.remove(0);
    let half_closes = |commands| {
        let times = listener(commands).timeouts;
        (times.half_close.unwrap().as_secs(), times.backend_half_close.unwrap().as_secs())
    };
    assert_eq!(half_closes(""), (600, 600));
    assert_eq!(half_closes("tcp_fastclose up"), (600, 0));
    assert_eq!(half_closes("tcp_fastclose down"), (0, 600));
    assert_eq!(half_closes("tcp_fastclose both"), (0, 0));
    assert_eq!(half_closes("tcp_fastclose both;tcp_fastclose x"), (600, 600));
    assert_eq!(listener("timeout -3").timeouts.connect, Duration::from_secs(1));
    assert_eq!(listener("idle_timeout 9").timeouts.idle, Some(Duration::from_secs(9)));
    assert_eq!(config("80 127.0.0.1", "blacklist -3").pools[0].quarantine, Duration::ZERO);
    assert_eq!(listener("").source, Source::System);
    assert_eq!(listener("transparent").source, Source::Client);
    let fixed = Source::Fixed(IpAddr::from([127, 0, 0, 1]));
    assert_eq!(listener("transparent;source localhost").source, fixed);
    assert_eq!(listener("transparent;source localhost;source x").source, Source::Client);
    assert!(listener("http").forwarded_headers && listener("dummy").dummy);
    let process = config("-f -p /p -u me -j /j 80", "").process;
    assert!(!process.daemon && process.pid_file.is_some() && process.root.is_some());
    assert_eq!(process.user.as_deref(), Some("me"));
    assert!(config("80", "").process.daemon);
    assert_eq!(PenSettings::default().to_config().listeners, []);
}

#[test]
fn u_is_for_datagrams() {
    let line = "-UHW -t 9 -x 7 -O dummy [::1]:53 127.0.0.1:54";
    let listener = |commands| config(line, commands).listeners.remove(0);
    let silent = listener("");
    assert_eq!(silent.bound_to(), "[::1]:53/udp");
    assert_eq!(silent.sessions_max, Some(7));
    assert_eq!(silent.flows.timeout, Duration::from_secs(120));
    assert_eq!(listener("idle_timeout 9").flows.timeout, Duration::from_secs(9));
    // What is for connections has no effect.
    let plain = "-UW -x 7 [::1]:53 127.0.0.1:54";
    assert_eq!(silent, config(plain, "pending_max 3;tcp_fastclose up").listeners[0]);
    assert_eq!(config(line, "").pools, config(plain, "").pools);
}

/// Whether clients get through the client access list after these commands.
#[track_caller]
fn permits(commands: &str, clients: &str) {
    let config = config("80", &format!("client_acl 1;{commands}"));
    for client in clients.split(' ') {
        let (address, expected) = client.split_at(client.len() - 1);
        let client = Client { address: Some(address.parse().unwrap()), ..Client::default() };
        let permitted = config.pools[0].access.permits(&client);
        assert_eq!(permitted, expected == "+", "{address} after {commands:?}");
    }
}

#[test]
fn access_lists() {
    permits("", "127.0.0.1+ ::1+");
    permits("acl 1 permit 127.0.0.1", "127.0.0.1+ 127.0.0.2-");
    permits("acl 1 permit 127.1", "127.0.0.1+ 127.0.0.2-");
    permits("acl 1 permit 10.0.0.0 255.0.0.0", "10.9.9.9+ 11.0.0.0-");
    permits("acl 1 permit 10.0.0.0 255.0.0", "10.9.9.9+ 11.0.0.0-");
    permits("acl 1 permit 10.0.0.1 255.0.0.0", "10.0.0.1-"); // bits outside the mask never match
    permits("acl 1 permit 10.0.0.0/8", "10.9.9.9+ 11.0.0.0-");
    permits("acl 1 deny 0.0.0.0/0", "10.9.9.9- ::1+");
    permits("acl 1 permit ::1", "::1+ ::2- 127.0.0.1-");
    permits("acl 1 deny ::ffff:10.0.0.1", "10.0.0.1- 10.0.0.2+ ::1+");
    permits("acl 1 deny ::ffff:10.0.0.0/104", "10.9.9.9- 11.0.0.1+ ::1+");
    permits("acl 1 deny 2001:db8::/32", "2001:db8::1- 2001:db9::1+ 127.0.0.1+");
    permits("acl 1 deny ::/x", "::1-");
    permits(
        "acl 1 deny 127.0.0.1;acl 1 permit 127.0.0.0 255.255.255.0",
        "127.0.0.1- 127.0.0.2+ 127.0.1.1-",
    );
    permits("acl 1 deny 127.0.0.1;no acl 1", "127.0.0.1+");
    permits("acl 1 deny country SE", "127.0.0.1+");
    permits("acl 1 permit country SE", "127.0.0.1-");
    permits("acl 1 deny 127.0.0.1;client_acl 2", "127.0.0.1+");
    // A server's list that does not exist lets nobody in.
    let config = config("80 127.0.0.1 127.0.0.1", "server 0 acl 10;server 1 acl -1");
    let client = Client { address: Some([127, 0, 0, 1].into()), ..Client::default() };
    let permits = |index: usize| config.pools[0].tiers[0].backends[index].access.permits(&client);
    assert!(!permits(0) && !permits(1));
}

#[test]
fn a_long_list_is_made_once() {
    let mut settings = start("80 127.0.0.1").unwrap();
    for number in 0..100_000u32 {
        let address = std::net::Ipv4Addr::from_bits(number << 8);
        run(&mut settings, &format!("acl 0 deny {address}"));
    }
    let (one, other) = (settings.to_config(), settings.to_config());
    assert_eq!(one.pools[0].access.entries().len(), 100_000);
    assert!(std::ptr::eq(&*one.pools[0].access, &*other.pools[0].access));
}

/// What `--print-config` shows of a command line.
#[track_caller]
fn native(line: &str, commands: &str, expected: &str) {
    let printed = config(line, commands).to_command_line();
    assert_eq!(printed, expected, "for {line:?} and {commands:?}");
}

#[test]
fn a_pen_has_a_native_equivalent() {
    native(
        "-f 80 127.0.0.1:81:1:2:3:4 127.0.0.2",
        "",
        "evenkeel --policy rotation --quarantine 30s --no-last-resort --affinity 2048 \
         --max-sessions 500 --max-connecting 100 --share-port --connect-timeout 3s \
         --shutdown-timeout 0s --cut close 0.0.0.0:80 127.0.0.1:81:1:2:3:4 127.0.0.2:80",
    );
    native(
        "-rsH -T 60 -x 9 -e 127.0.0.9 -B 127.0.0.8:8 -u me -j /j -p /p 80 127.0.0.1",
        "acl 1 deny 10.0.0.0 255.0.0.0;client_acl 1;tcp_fastclose up;transparent;log /l",
        "evenkeel --policy rotation --quarantine 30s --no-last-resort --failover nothing \
         --hash-failover nothing --affinity 2048 --affinity-time 1m --affinity-count-only --deny 10.0.0.0/8 \
         --reject 127.0.0.8:8 --max-sessions 9 --max-connecting 100 --share-port \
         --connect-timeout 3s --backend-half-close-timeout now --shutdown-timeout 0s --transparent \
         --forwarded-headers --splice never --cut close --daemon --pid-file /j/p --user me --root /j \
         0.0.0.0:80 127.0.0.1:80 ! 127.0.0.9:80",
    );
}

#[test]
fn what_has_no_native_words_is_told() {
    let told = |commands| config("-B 127.0.0.8 80 127.0.0.1", commands).inexpressible().join("; ");
    assert_eq!(told(""), "");
    assert_eq!(told("acl 0 deny 10.0.0.1"), "the reject backend has an access list of its own");
    assert_eq!(told("dummy"), "clients are answered with a fixed page, without a backend");
    assert_eq!(
        told("server 0 acl 3;acl 3 deny ::1"),
        "backend 0.0 (127.0.0.1:80) has an access list of its own"
    );
    assert_eq!(told("server 1 address 127.0.0.2"), "backend 0.1 (127.0.0.2:1) is out of service");
    assert!(
        told("acl 1 deny 10.0.0.1 255.0.0.0;client_acl 1")
            .starts_with("1 entry of the access list")
    );
    // What cannot be said must not open the door.
    let line = config("80 127.0.0.1", "acl 1 permit 10.0.0.1 255.0.0.0;client_acl 1");
    assert!(line.to_command_line().contains(" --deny 0.0.0.0/0 --deny ::/0 "));
    assert_eq!(config("80", "").inexpressible(), ["tier 0 has no backends"]);
    assert_eq!(
        PenSettings::default().to_config().inexpressible(),
        ["there is no listening address"]
    );
    let line = config("80", "").to_command_line();
    assert!(
        line.starts_with("# not expressible: tier 0 has no backends\nevenkeel --policy"),
        "{line}"
    );
}
