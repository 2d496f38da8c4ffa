//! Probes that run a command: what it gets, what it may do, and what becomes of it.

use crate::support::{Backend, Done, Place, Program, ask_times, port, until};
use rustix::fs::{FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An instance with one pool whose probe is a script, and what belongs to it.
struct Rig {
    place: Place,
    port: crate::support::Port,
    backends: Vec<Backend>,
}

impl Rig {
    fn new(backends: usize) -> Self {
        let backends = (0..backends).map(|_| Backend::named("a")).collect();
        Self { place: Place::new(), port: port(), backends }
    }

    /// Writes a script for sh(1), in which `@` is the place's directory. It replaces an earlier one.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.place.file(name), self.place.file(&format!("{name}.new")));
        let text = text.replace('@', self.place.file("").to_str().unwrap());
        fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// Writes the file, with these keys of the pool in addition to the probe.
    fn configure(&self, probe: &str, keys: &str) -> PathBuf {
        let probe = probe.replace('@', self.place.file("").to_str().unwrap());
        let backends: Vec<_> = self.backends.iter().map(|it| format!("\"{it}\"")).collect();
        let text = format!(
            "[listeners.l]\nbind = {}\npool = \"p\"\n[pools.p]\nbackends = [{}]\n\
             probe = '{probe}'\n{keys}\n",
            self.port,
            backends.join(", ")
        );
        let file = self.place.file("evenkeel.toml");
        fs::write(&file, text).unwrap();
        file
    }

    fn start(&self, probe: &str, keys: &str) -> Program {
        let file = self.configure(probe, keys);
        let run = format!("run {}", file.display());
        let evenkeel = Program::spawn(&mut self.place.command("evenkeel", &run));
        evenkeel.log.wait("listening");
        evenkeel
    }

    fn reload(&self, probe: &str, keys: &str) -> Done {
        self.configure(probe, keys);
        self.place.ctl("reload")
    }

    #[track_caller]
    fn wait_for_health(&self, word: &str) {
        until(word, || self.place.backend(0, 0)["health"] == word);
    }

    #[track_caller]
    fn wait_for_error(&self, text: &str) {
        until(text, || self.place.backend(0, 0)["probe"]["last_error"] == text);
    }

    /// What is in a file, once it has a whole line.
    #[track_caller]
    fn line(&self, name: &str) -> String {
        let mut text = String::new();
        until(name, || {
            text = fs::read_to_string(self.place.file(name)).unwrap_or_default();
            text.ends_with('\n')
        });
        text.trim().to_owned()
    }
}

/// So long that a busy machine makes no difference.
const PATIENT: &str = "probe-interval = \"100ms\"\nprobe-timeout = \"30s\"";
/// For what never ends.
const BRIEF: &str = "probe-interval = \"100ms\"\nprobe-timeout = \"500ms\"";

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().map(|it| it.parse().unwrap()).collect()
}

/// The process that watches the one which runs commands, and that one.
#[track_caller]
fn brokers(evenkeel: &Program) -> [i32; 2] {
    let is_probes = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "evenkeel-probes")
    };
    let mut found = None;
    until("the broker", || {
        let pid = evenkeel.pid().as_raw_nonzero().get();
        let outer = children(pid).into_iter().find(is_probes);
        let inner = outer.and_then(|outer| children(outer).into_iter().find(is_probes));
        found = outer.zip(inner);
        found.is_some()
    });
    let (outer, inner) = found.unwrap();
    [outer, inner]
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Whether a process has this in its command line.
fn is_there(words: &str) -> bool {
    let has = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(words)
    };
    let mut processes = fs::read_dir("/proc").unwrap().filter_map(|it| Some(it.ok()?.path()));
    processes.any(|it| has(&it))
}

#[track_caller]
fn wait_until_gone(words: &str) {
    until(&format!("the end of {words}"), || !is_there(words));
}

#[test]
fn the_exit_status_decides_and_the_output_is_the_reason() {
    let rig = Rig::new(1);
    rig.script("check", "[ -e @ok ] && exit 0\necho\necho ' lag is 90 s' >&2\necho more\nexit 2");
    let evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_health("down");
    rig.wait_for_error("exit status 2: lag is 90 s");
    let line = evenkeel.log.wait("backend down");
    assert!(line.contains("exit status 2: lag is 90 s"), "{line}");
    let row = rig.place.backend(0, 0)["probe"].clone();
    assert_eq!(row["probe"], format!("command:{}", rig.place.file("check").display()));
    let text = rig.place.ctl("status").check(0).stdout;
    assert!(text.contains("exit status 2: lag is 90 s"), "{text}");
    fs::write(rig.place.file("ok"), "").unwrap();
    evenkeel.log.wait("backend up");
    rig.wait_for_health("healthy");
    rig.script("check", "kill -SEGV $$");
    rig.wait_for_error("ended by signal 11");
}

#[test]
fn a_command_gets_its_arguments_and_a_clean_environment_and_no_files() {
    let rig = Rig::new(1);
    let text = "{ /usr/bin/env | /usr/bin/grep -v -e ^PWD= -e ^SHLVL= -e ^_= | /usr/bin/sort\n\
                for it; do printf '%s|' \"$it\"; done; pwd\n\
                ls -l /proc/$$/fd | grep -c socket\n\
                cut -d' ' -f5,6 /proc/$$/stat\n\
                read line || echo end of input; } > @seen.part\n\
                echo $$ >> @seen.part; mv @seen.part @seen";
    rig.script("check", text);
    let _evenkeel = rig.start("command:@check arg=-v arg=\"\" arg=\"a b; $(c)\"", PATIENT);
    rig.wait_for_health("healthy");
    let seen = rig.line("seen");
    let pid = seen.lines().last().unwrap();
    let backend = &rig.backends[0];
    let expected = format!(
        "EVENKEEL_ADDRESS=127.0.0.1\nEVENKEEL_BACKEND={backend}\nEVENKEEL_POOL=p\n\
         EVENKEEL_PORT={}\nEVENKEEL_TIMEOUT=30\n-v||a b; $(c)|/\n0\n{pid} {pid}\nend of input\n{pid}",
        backend.port(),
    );
    assert_eq!(seen, expected);
}

#[test]
fn a_command_has_no_privilege_and_is_limited() {
    let rig = Rig::new(1);
    let text = "{ grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):' /proc/$$/status\n\
                ulimit -n; ulimit -c; ulimit -t; ulimit -d; umask\n\
                kill -0 $PPID; echo $?; } > @seen.part 2>&1\n\
                mv @seen.part @seen";
    rig.script("check", text);
    let _evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_health("healthy");
    let seen = rig.line("seen").replace('\t', " ");
    let none = "0000000000000000";
    let limits = "256\n0\n31\n1048576\n0077";
    let (seen, kill) = seen.rsplit_once('\n').unwrap();
    if can_scope_signals() {
        assert_ne!(kill, "0");
    }
    let seen = seen.lines().filter(|it| !it.contains("kill")).collect::<Vec<_>>().join("\n");
    if rustix::process::getuid().is_root() {
        let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let names = names.map(|name| format!("{name}: {none}\n")).concat();
        assert_eq!(seen, format!("{names}NoNewPrivs: 1\n{limits}"));
    } else {
        assert!(seen.ends_with(&format!("NoNewPrivs: 1\n{limits}")), "{seen}");
    }
}

/// Whether landlock(7) can keep processes from sending signals.
fn can_scope_signals() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split('.').map(|it| it.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 12) && read("/sys/kernel/security/lsm").contains("landlock")
}

#[test]
fn commands_run_as_the_user_of_the_instance() {
    if !rustix::process::getuid().is_root() {
        return eprintln!("skipped: only root can change the user");
    }
    let rig = Rig::new(1);
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(rig.place.file(""), open).unwrap();
    rig.script("check", "echo $(id -un) $(id -G); exit 1");
    let _evenkeel =
        rig.start("command:@check", &format!("{PATIENT}\n[process]\nuser = \"nobody\""));
    rig.wait_for_error("exit status 1: nobody 65534");
}

#[test]
fn what_hangs_is_killed_with_all_that_it_has_started() {
    let rig = Rig::new(1);
    // Words by which the processes are found; numbers that no other test has.
    let text = "trap '' TERM HUP INT\n\
                sleep 98761 &\n\
                setsid sleep 98762 &\n\
                (setsid sh -c 'sleep 98763 & sleep 98764' &)\n\
                echo waiting\nwhile :; do sleep 98765; done";
    rig.script("check", text);
    let evenkeel = rig.start("command:@check", BRIEF);
    rig.wait_for_health("down");
    rig.wait_for_error("did not end in time: waiting");
    // It is tried again and again; the last ones go with the instance, however that ends.
    drop(evenkeel);
    for number in 98761..=98765 {
        wait_until_gone(&format!("sleep {number}"));
    }
}

#[test]
fn a_child_that_keeps_the_output_open_neither_delays_a_command_nor_survives_it() {
    let rig = Rig::new(1);
    rig.script("check", "sleep 98771 &\nsetsid sleep 98772 &\nexit 0");
    let _evenkeel = rig.start("command:@check", "probe-interval = \"1h\"\nprobe-timeout = \"30s\"");
    rig.wait_for_health("healthy");
    wait_until_gone("sleep 98771");
    wait_until_gone("sleep 98772");
}

#[test]
fn much_output_is_read_and_little_of_it_kept() {
    let rig = Rig::new(1);
    rig.script("check", "head -c 1000000 /dev/zero | tr '\\0' x\nexit 3");
    let _evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_error(&format!("exit status 3: {}...", "x".repeat(100)));
    rig.wait_for_health("down");
    rig.configure("command:@check", BRIEF);
    rig.script("check", "while :; do echo yes; done");
    rig.place.ctl("reload").check(0);
    rig.wait_for_error("did not end in time: yes");
}

#[test]
fn a_program_that_cannot_be_run_convicts_nobody() {
    let rig = Rig::new(1);
    let path = rig.place.file("check");
    let evenkeel = rig.start("command:@check", PATIENT);
    let log = |what: &str| {
        let line = evenkeel.log.wait(&format!("{} cannot be run: {what}", path.display()));
        assert!(line.contains("the command of a probe cannot be run"), "{line}");
    };
    log("No such file or directory");
    // Nobody writes to it: opening it would take for ever.
    let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o777));
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    log("Permission denied");
    rig.wait_for_error(&format!("{} cannot be run: Permission denied", path.display()));
    let health = || rig.place.backend(0, 0)["health"].clone();
    assert_eq!(health(), "unknown");
    assert_eq!(ask_times(&rig.port, 2), "a a");
    // It is replaced: by one that works, one that does not, and nothing again.
    rig.script("check", "exit 0");
    rig.wait_for_health("healthy");
    rig.script("check", "echo no; exit 1");
    rig.wait_for_health("down");
    fs::remove_file(&path).unwrap();
    rig.wait_for_error(&format!("{} cannot be run: No such file or directory", path.display()));
    assert_eq!(health(), "down");
    assert_eq!(evenkeel.log.with("cannot be run: No such file").len(), 2);
    assert_eq!(evenkeel.log.with("backend down").len(), 1);
}

#[test]
fn a_reload_may_change_arguments_but_not_bring_another_program() {
    let rig = Rig::new(1);
    rig.script("check", "echo \"$1\"; exit ${2:-1}");
    rig.script("other", "exit 0");
    let evenkeel = rig.start("command:@check arg=one", PATIENT);
    rig.wait_for_error("exit status 1: one");
    rig.reload("command:@check arg=two", PATIENT).check(0);
    rig.wait_for_error("exit status 1: two");
    let refused = rig.reload("command:@other", PATIENT);
    assert_ne!(refused.status, 0);
    let why = format!(
        "pool p: the probe runs {}, but only programs that were configured at the start can be run",
        rig.place.file("other").display()
    );
    assert!(refused.stderr.contains(&why), "{}", refused.stderr);
    evenkeel.log.wait(&why);
    rig.reload("tcp", PATIENT).check(0);
    rig.wait_for_health("healthy");
    rig.reload("command:@check arg=three arg=0", PATIENT).check(0);
    until("a probe by the command", || rig.place.backend(0, 0)["probe"]["verdict"] == "up");
}

#[test]
fn check_names_what_cannot_be_run() {
    let rig = Rig::new(1);
    let check = |place: &Place| {
        let file = place.file("evenkeel.toml");
        place.run("evenkeel", &format!("check {}", file.display()))
    };
    rig.configure("command:@check", PATIENT);
    let path = rig.place.file("check");
    let says = |what: &str| {
        let done = check(&rig.place);
        let text = format!("the program {} cannot be run: {what}", path.display());
        assert!(done.stdout.contains(&text), "{}{}", done.stdout, done.stderr);
        assert_ne!(done.status, 0);
    };
    says("No such file or directory");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    says("Permission denied");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    says("it is not a regular file");
    fs::remove_dir(&path).unwrap();
    rig.script("check", "exit 0");
    let done = check(&rig.place);
    assert!(!done.stdout.contains("cannot be run"), "{}", done.stdout);
}

#[test]
fn a_command_can_end_what_it_has_begun() {
    let rig = Rig::new(1);
    rig.script("check", "sleep 98782 &\nkill $!\nwait $!\n[ $? = 143 ]");
    let _evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_health("healthy");
}

#[test]
fn when_the_broker_fails_nobody_is_convicted() {
    let rig = Rig::new(1);
    // Each in a session of its own, so that they have to be found one after the other.
    let nested = "[ -e @stay ] || exit 0\nn=${1:-30}\n[ $n = 0 ] && exec sleep 98781\n\
                  setsid $0 $((n - 1)) &\nwait";
    rig.script("check", nested);
    let evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_health("healthy");
    // It is begun again, and what it had begun is over.
    fs::write(rig.place.file("stay"), "").unwrap();
    let [outer, inner] = brokers(&evenkeel);
    until("the last of the nested commands", || is_there("sleep 98781"));
    fs::remove_file(rig.place.file("stay")).unwrap();
    kill(inner);
    evenkeel.log.wait("commands of probes interrupted");
    wait_until_gone("sleep 98781");
    let [again, another] = brokers(&evenkeel);
    assert_eq!(again, outer);
    assert_ne!(another, inner);
    rig.script("check", "echo no; exit 1");
    rig.wait_for_health("down");
    rig.script("check", "exit 0");
    rig.wait_for_health("healthy");
    // Without the process that watches it, there will be no more commands, and nothing is known.
    kill(outer);
    evenkeel.log.wait("commands of probes cannot be run");
    rig.wait_for_health("unknown");
    assert_eq!(rig.place.backend(0, 0)["probe"]["verdict"], "unknown");
    assert_eq!(ask_times(&rig.port, 2), "a a");
    assert_eq!(evenkeel.log.with("backend down").len(), 1);
}

#[test]
fn nothing_is_left_of_an_instance_that_was_killed() {
    let rig = Rig::new(1);
    rig.script("check", "sleep 98791 & setsid sleep 98792 & sleep 98793");
    let mut evenkeel = rig.start("command:@check", PATIENT);
    let pids = brokers(&evenkeel);
    until("a command", || !children(pids[1]).is_empty());
    evenkeel.kill();
    for number in 98791..=98793 {
        wait_until_gone(&format!("sleep {number}"));
    }
    let is_there = |pid: &i32| Path::new(&format!("/proc/{pid}")).exists();
    until("the end of the broker", || !pids.iter().any(is_there));
}

#[test]
fn few_commands_run_at_a_time_and_all_backends_have_their_turn() {
    let rig = Rig::new(80);
    rig.script("check", "echo >> @begun\nwhile [ ! -e @go ]; do sleep 0.1; done");
    let evenkeel = rig.start("command:@check", PATIENT);
    let begun = || fs::read(rig.place.file("begun")).unwrap_or_default().len();
    until("as many commands as may run", || begun() >= 32);
    // All others are due by now, and wait.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(begun(), 32, "{:?}", evenkeel.log.all());
    fs::write(rig.place.file("go"), "").unwrap();
    until("all backends to be up", || {
        (0..80).all(|index| rig.place.backend(0, index)["probe"]["verdict"] == "up")
    });
}

#[test]
fn an_upgraded_instance_runs_commands_and_programs_that_are_new() {
    let rig = Rig::new(1);
    rig.script("check", "exit 0");
    rig.script("other", "echo other; exit 1");
    let evenkeel = rig.start("command:@check", PATIENT);
    rig.wait_for_health("healthy");
    let old = brokers(&evenkeel);
    rig.configure("command:@other", PATIENT);
    rig.place.run("evenkeel", "upgrade").check(0);
    rig.wait_for_error("exit status 1: other");
    rig.wait_for_health("down");
    let is_there = |pid: &i32| Path::new(&format!("/proc/{pid}")).exists();
    until("the end of the old broker", || !old.iter().any(is_there));
}
