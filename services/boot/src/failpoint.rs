//! Named places in the code where a test can end the process, as a kill -9 would, halt it, or let the task panic.
//!
//! `CAUSEWAY_FAILPOINT=log.produced:40` aborts at the fortieth time; `…:40:pause=2000` halts the thread for two seconds,
//! `…:40:panic` panics; several are separated by commas. Nothing reads the variable but `causeway run`, which warns when it is set.
//!
//! # Why
//! Not the `fail` crate: it is off unless compiled in, and then what is tested is not what is shipped. Here the shipped
//! binary is tested, and an idle failpoint costs one relaxed load.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub const VARIABLE: &str = "CAUSEWAY_FAILPOINT";
pub const PLANS_MAX: usize = 16;

static ARMED: AtomicBool = AtomicBool::new(false);
static PLANS: Mutex<BTreeMap<String, Plan>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Passes still to come, the fateful one included.
    left: u64,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Abort,
    Pause(Duration),
    Panic,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailpointError {
    #[error("`{0}` is no failpoint: expected NAME:TIMES, NAME:TIMES:pause=MILLISECONDS or NAME:TIMES:panic")]
    Malformed(String),
    #[error("more than {PLANS_MAX} failpoints")]
    TooMany,
}

/// The process passes here.
#[inline]
pub fn reached(name: &'static str) {
    if ARMED.load(Ordering::Relaxed) {
        passed(name);
    }
}

#[cold]
fn passed(name: &str) {
    let due = {
        let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(plan) = plans.get_mut(name) else { return };
        plan.left = plan.left.saturating_sub(1);
        if plan.left > 0 {
            return;
        }
        plans.remove(name)
    };
    match due.map(|plan| plan.action) {
        Some(Action::Abort) => {
            // Not through the log: nothing may be flushed or unwound from here on.
            eprintln!("failpoint {name}: abort");
            std::process::abort();
        }
        Some(Action::Pause(duration)) => {
            eprintln!("failpoint {name}: pause");
            std::thread::sleep(duration);
        }
        Some(Action::Panic) => panic!("failpoint {name}"),
        None => {}
    }
}

/// Sets the failpoints that the variable's text names; how many there are.
pub fn arm(text: &str) -> Result<usize, FailpointError> {
    let plans = parse(text)?;
    let count = plans.len();
    *PLANS.lock().unwrap_or_else(PoisonError::into_inner) = plans;
    ARMED.store(count > 0, Ordering::Relaxed);
    Ok(count)
}

fn parse(text: &str) -> Result<BTreeMap<String, Plan>, FailpointError> {
    let mut plans = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, plan) = one(part).ok_or_else(|| FailpointError::Malformed(part.to_owned()))?;
        plans.insert(name, plan);
    }
    if plans.len() > PLANS_MAX { Err(FailpointError::TooMany) } else { Ok(plans) }
}

fn one(text: &str) -> Option<(String, Plan)> {
    let mut parts = text.split(':');
    let (name, times) = (parts.next()?, parts.next()?);
    let action = match parts.next() {
        None => Action::Abort,
        Some("panic") => Action::Panic,
        Some(action) => Action::Pause(Duration::from_millis(u64::from_str(action.strip_prefix("pause=")?).ok()?)),
    };
    let left = times.parse().ok().filter(|times| *times > 0)?;
    (parts.next().is_none() && !name.is_empty()).then(|| (name.to_owned(), Plan { left, action }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_plan_names_a_place_how_often_and_what() {
        let check = |text: &str, left, action| assert_eq!(one(text), Some(("a.b".into(), Plan { left, action })));
        check("a.b:3", 3, Action::Abort);
        check("a.b:2:panic", 2, Action::Panic);
        check("a.b:1:pause=250", 1, Action::Pause(Duration::from_millis(250)));
        for wrong in ["a.b", "a.b:0", "a.b:x", ":1", "a.b:1:stop", "a.b:1:pause=", "a.b:1:pause=1:2"] {
            assert_eq!(one(wrong), None, "{wrong}");
        }
        assert_eq!(parse("a:1, b:2,").map(|plans| plans.len()), Ok(2));
        assert_eq!(parse("a:1,b"), Err(FailpointError::Malformed("b".into())));
    }

    #[test]
    fn the_thread_halts_at_the_pass_that_was_named_and_only_then() {
        assert_eq!(arm("boot.test:2:pause=80"), Ok(1));
        let took = |what: fn()| {
            let began = Instant::now();
            what();
            began.elapsed()
        };
        let pass = || reached("boot.test");
        reached("boot.other");
        let (first, second) = (took(pass), took(pass));
        assert!(first < Duration::from_millis(80) && second >= Duration::from_millis(80), "{first:?} {second:?}");
        assert_eq!(arm(""), Ok(0));
    }
}
