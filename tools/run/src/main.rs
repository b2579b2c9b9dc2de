//! What `./run` does once everything is there and built.
//!
//! # Why
//! The script beside the README only installs, fetches and builds; whatever starts, waits, stops or
//! counts is Rust, so that it is typed, tested and shared.

mod bench;
mod demo;
mod faults;
mod fuzz;
mod load;
mod matrix;
mod plants;
mod soak;
mod test;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Causeway on this machine.
#[derive(Parser)]
#[command(name = "./run", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// A region with two clinics, every service and a simulated day; Ctrl-C stops all of it.
    Demo(demo::Arguments),
    /// Every test, on real components; ends with counts.
    Test(test::Arguments),
    /// The tests of capture on PostgreSQL 14 to 18; ends with a table.
    Matrix(matrix::Arguments),
    /// Start the empty local stack in the background; its addresses go to .local/stack.env.
    Up,
    /// Stop the stack that `up` started.
    Down,
    /// Put real records into the GP database.
    Load(load::Arguments),
    /// Break everything on purpose, at length, and count what was lost, duplicated or out of order.
    Faults(faults::Arguments),
    /// A region at work for long: what grows meanwhile, and whether every invariant holds at its end.
    Soak(soak::Arguments),
    /// Feed hostile input to everything that reads bytes of others, at length.
    Fuzz(fuzz::Arguments),
    /// Plant others' mistakes, one by one, in a copy of the work tree: each has to be caught.
    Plants(plants::Arguments),
    /// Measure, side by side with a floor, in one run.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Matrix(arguments) => matrix::run(&arguments),
        Verb::Up => up::up(),
        Verb::Down => up::down(),
        Verb::Load(arguments) => load::run(&arguments),
        Verb::Faults(arguments) => faults::run(&arguments),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Plants(arguments) => plants::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("./run: {error:#}");
        ExitCode::FAILURE
    })
}
