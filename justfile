# `just` lists the commands; each is one line that also works without just.

# List the commands.
default:
    @just --list

# Four small real runs that finish, are killed, lose a thread and hang, and the alarms they raise.
demo:
    cargo run -- demo

# Everything that must hold: format, lints, tests, documentation.
check:
    ./scripts/test

# Real ways to die, each played by a real process, and what is said of it, in one table.
deaths:
    cargo test --test integration ways_to_die -- --nocapture

# What the engine reaches, in one table, within two minutes after the build.
bench *parts:
    cargo bench -- {{parts}}

# The tests of one module or name, quickly.
test filter='':
    cargo test --workspace {{filter}}

# Put the source into its one format.
fmt:
    cargo fmt --all

# The programming interface's documentation, in the browser.
doc:
    cargo doc --workspace --no-deps --open
