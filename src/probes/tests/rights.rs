//! What other users may see, and the limit of descriptors.

use super::*;

#[tokio::test]
async fn a_hidden_process_is_unknown_and_not_dead() {
    let name = "a_hidden_process_is_unknown_and_not_dead";
    let target = sleeper();
    let me = std::env::current_exe().expect("this program");
    // A `/proc` of its own, in which nobody sees only his own processes.
    let script = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
                  \"$0\" --ignored --exact --nocapture probes::tests::rights::look_as_somebody_else";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&me)
        .env("RUNWATCH_TEST_PID", target.0.id().to_string())
        .output();
    let text = match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("process: ") => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => {
            println!("skipped: {name}: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        Err(error) => {
            println!("skipped: {name}: unshare: {error}");
            return;
        }
    };
    for sighting in ["process", "thread", "named", "ended process", "ended thread"] {
        assert!(text.contains(&format!("{sighting}: Hidden(NoPermission)")), "{text}");
    }
    assert!(text.contains("gone: Hidden(AlreadyGone)"), "{text}");
}

#[tokio::test]
#[ignore = "the other user's part of a_hidden_process_is_unknown_and_not_dead"]
async fn look_as_somebody_else() {
    let pid = std::env::var("RUNWATCH_TEST_PID").ok().and_then(|pid| pid.parse().ok()).expect("a pid");
    assert!(!Path::new(&format!("/proc/{pid}/stat")).exists(), "not hidden");
    let probe = SystemProbe::new();
    let thread = ProbeTarget::Thread { pid, tid: pid };
    println!("process: {:?}", probe.look(&process(pid)).await);
    println!("thread: {:?}", probe.look(&thread).await);
    println!("named: {:?}", probe.look(&ProbeTarget::NamedThread { pid, comm: "sleep".to_owned() }).await);
    println!("ended process: {:?}", ended(probe, &process(pid), 1, pid).await);
    println!("ended thread: {:?}", ended(probe, &thread, 1, pid).await);
    println!("gone: {:?}", probe.look(&process(4_194_303)).await);
}

#[tokio::test]
async fn another_users_death_tells_its_cause_to_nobody_too() {
    let name = "another_users_death_tells_its_cause_to_nobody_too";
    let (_parent, mut out) =
        foreign(Command::new("python3").args(["-c", PARENT, "reap", "sh", "-c", "sleep 3; exit 9"]));
    let pid: u32 = line(&mut out);
    let me = std::env::current_exe().expect("this program");
    let mut watcher = Command::new("setpriv");
    watcher.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(me);
    watcher.args(["--ignored", "--exact", "--nocapture", "probes::tests::rights::follow_as_somebody_else"]);
    let output = watcher.env("RUNWATCH_TEST_PID", pid.to_string()).stdin(Stdio::null()).output();
    let Some(text) = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
        println!("skipped: {name}: no setpriv");
        return;
    };
    if !text.contains("as 65534: ") {
        println!("skipped: {name}: {text}");
        return;
    }
    assert!(text.contains("may be signalled: false"), "it is found, though it may not be signalled: {text}");
    // `Gone` where the kernel (before 6.15) keeps no status.
    let told = [exited(Exit::code(9)), Sighting::Ended(DeathCause::Gone)];
    assert!(told.iter().any(|told| text.contains(&format!("as 65534: {told:?}"))), "{text}");
}

#[tokio::test]
#[ignore = "the other user's part of another_users_death_tells_its_cause_to_nobody_too"]
async fn follow_as_somebody_else() {
    let pid = std::env::var("RUNWATCH_TEST_PID").ok().and_then(|pid| pid.parse().ok()).expect("a pid");
    let (start_ticks, id) = found(SystemProbe::new(), &process(pid)).await;
    let kill = rustix::process::test_kill_process(Pid::from_raw(pid as i32).expect("a pid"));
    println!("may be signalled: {}", kill != Err(rustix::io::Errno::PERM));
    println!("as {}: {:?}", uid(), ended(SystemProbe::new(), &process(pid), start_ticks, id).await);
}

#[test]
fn a_process_is_followed_once_there_are_descriptors_again() {
    let me = std::env::current_exe().expect("this program");
    let script =
        "ulimit -n 64; exec \"$0\" --ignored --exact --nocapture probes::tests::rights::follow_without_descriptors";
    let output = Command::new("bash").args(["-c", script]).arg(me).stdin(Stdio::null()).output().expect("bash");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("both were followed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "the inner part of a_process_is_followed_once_there_are_descriptors_again"]
async fn follow_without_descriptors() {
    for probe in BOTH {
        let target = sleeper();
        let pid = target.0.id();
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let all: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        assert!(all.len() < 64, "there is no limit");
        let follower = tokio::spawn(async move { ended(probe(), &process(pid), start_ticks, id).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!follower.is_finished(), "not seen is not dead, and not given up");
        drop(all);
        signal(pid, Signal::KILL);
        assert_eq!(follower.await.expect("an end"), exited(Exit::signal(9)));
    }
    println!("both were followed");
}

#[test]
fn children_keep_the_limit_of_descriptors_that_the_user_set() {
    // In a process of its own: the limit is the whole process's.
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me);
    child.args(["--ignored", "--exact", "--nocapture", "probes::tests::rights::raise_and_restore"]);
    let before = DescriptorLimit { soft: Some(300), hard: Some(900) };
    // A limit below the current one can always be set.
    let output = {
        let script = "ulimit -S -n 300; ulimit -H -n 900; exec \"$0\" \"$@\"";
        let args: Vec<_> = child.get_args().map(ToOwned::to_owned).collect();
        Command::new("bash").args(["-c", script]).arg(child.get_program()).args(args).output().expect("bash")
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains(&format!("before {before:?}, raised 900, kept 300, again {before:?}, restored 300")),
        "{text}"
    );
}

#[test]
#[ignore = "the inner part of children_keep_the_limit_of_descriptors_that_the_user_set"]
fn raise_and_restore() {
    let limit_of_child = |keep: bool| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n"]).stdout(Stdio::piped());
        if keep {
            keep_descriptor_limit(&mut command);
        }
        let mut text = String::new();
        let mut child = spawn(&mut command);
        child.0.stdout.take().expect("stdout").read_to_string(&mut text).expect("text");
        text.trim().to_owned()
    };
    let before = raise_descriptor_limit().expect("raised");
    let (raised, kept) = (limit_of_child(false), limit_of_child(true));
    let again = raise_descriptor_limit().expect("raised again");
    restore_descriptor_limit(before).expect("restored");
    println!("before {before:?}, raised {raised}, kept {kept}, again {again:?}, restored {}", limit_of_child(false));
}
