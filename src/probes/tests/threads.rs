//! Threads, and a process that outlives its first one.

use super::*;

/// A program whose first thread ends at once, and whose other one reads a byte and ends, too.
const LEADERLESS: &str = r#"#include <pthread.h>
#include <unistd.h>
static void *work(void *unused) { char c; while (read(0, &c, 1) < 0) {} return unused; }
int main(void) { pthread_t t; pthread_create(&t, 0, work, 0); pthread_exit(0); }
"#;

#[tokio::test]
async fn a_process_outlives_its_first_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("leaderless.c");
    std::fs::write(&source, LEADERLESS).expect("a source");
    let program = folder.path().join("leaderless");
    let built = Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-lpthread").status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: a_process_outlives_its_first_thread: no C compiler");
        return;
    }
    for (probe, end) in BOTH.into_iter().flat_map(|probe| [(probe, None), (probe, Some(Signal::KILL))]) {
        let mut child = Held(Command::new(&program).stdin(Stdio::piped()).spawn().expect("a child"));
        let pid = child.0.id();
        let leader = ProbeTarget::Thread { pid, tid: pid };
        // The leader ends at some point; from then on its thread is dead, and its process is not.
        match probe().look(&leader).await {
            Sighting::Found { start_ticks, id } => {
                assert_eq!(ended(probe(), &leader, start_ticks, id).await, Sighting::Ended(DeathCause::Gone));
            }
            at_once => assert_eq!(at_once, Sighting::Ended(DeathCause::Gone)),
        }
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let waiting = timeout(Duration::from_millis(400), probe().ended(&process(pid), start_ticks, id)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        let exit = match end {
            Some(kill) => {
                signal(pid, kill);
                Exit::signal(9)
            }
            None => {
                drop(child.0.stdin.take());
                Exit::code(0)
            }
        };
        assert_eq!(ended(probe(), &process(pid), start_ticks, id).await, exited(exit));
    }
}

/// A thread of this process, named `name`, that ends when it is told to.
pub(super) fn thread(name: &str) -> (u32, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel::<()>();
    let (tid, tid_of) = mpsc::channel();
    let body = move || {
        tid.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("a reader");
        // An error is the sender's end, which is as good.
        let _ = told.recv();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread");
    (tid_of.recv().expect("its id"), tell)
}

#[tokio::test]
async fn a_thread_dies_while_its_process_lives() {
    let pid = std::process::id();
    for probe in BOTH {
        let (tid, tell) = thread("worker");
        let target = ProbeTarget::Thread { pid, tid };
        let (start_ticks, id) = found(probe(), &target).await;
        assert_eq!(id, tid);
        assert!(timeout(Duration::from_millis(400), probe().ended(&target, start_ticks, id)).await.is_err());
        drop(tell);
        assert_eq!(ended(probe(), &target, start_ticks, id).await, Sighting::Ended(DeathCause::Gone));
        assert_eq!(probe().look(&target).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
        assert_eq!(ended(probe(), &target, start_ticks, id).await, Sighting::Ended(DeathCause::Gone));
    }
}

#[tokio::test]
async fn a_threads_id_that_is_another_threads_is_never_followed() {
    let (tid, _tell) = thread("worker");
    let target = ProbeTarget::Thread { pid: std::process::id(), tid };
    for probe in BOTH {
        let (start_ticks, id) = found(probe(), &target).await;
        assert_eq!(ended(probe(), &target, start_ticks + 1, id).await, Sighting::Ended(DeathCause::Gone));
    }
}

#[tokio::test]
async fn a_threads_id_is_no_process() {
    let (tid, _tell) = thread("worker");
    assert_eq!(SystemProbe::new().look(&process(tid)).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
}

#[tokio::test]
async fn a_thread_is_found_by_the_name_the_kernel_keeps() {
    let pid = std::process::id();
    let named = |comm: &str| ProbeTarget::NamedThread { pid, comm: comm.to_owned() };
    let probe = SystemProbe::new();
    assert_eq!(probe.look(&named("not-yet-there")).await, Sighting::Hidden(UnknownWhy::NeverSeen));
    let (first, tell) = thread("a-name-longer-than-fifteen-bytes");
    let (start_ticks, id) = found(probe, &named("a-name-longer-than-fifteen-bytes")).await;
    assert_eq!(id, first);
    assert_eq!(found(probe, &named("a-name-longer-t")).await.1, first);
    assert_eq!(probe.look(&named("a-name-longer-")).await, Sighting::Hidden(UnknownWhy::NeverSeen));
    let (second, _tell) = thread("a-name-longer-than-fifteen-bytes");
    assert_eq!(found(probe, &named("a-name-longer-t")).await.1, first.min(second));
    drop(tell);
    let sighting = ended(probe, &named("a-name-longer-t"), start_ticks, id).await;
    assert_eq!(sighting, Sighting::Ended(DeathCause::Gone));
}

#[tokio::test]
async fn a_process_takes_its_threads_along() {
    let script = "import threading, time
t = threading.Thread(target=time.sleep, args=(1000,), daemon=True); t.start()
print(t.native_id, flush=True)
time.sleep(1000)";
    for probe in BOTH {
        let (python, mut out) = foreign(Command::new("python3").args(["-c", script]));
        let target = ProbeTarget::Thread { pid: python.0.id(), tid: line(&mut out) };
        let (start_ticks, id) = found(probe(), &target).await;
        signal(python.0.id(), Signal::KILL);
        assert_eq!(ended(probe(), &target, start_ticks, id).await, Sighting::Ended(DeathCause::Gone));
        drop(python);
        assert_eq!(probe().look(&target).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
    }
}
