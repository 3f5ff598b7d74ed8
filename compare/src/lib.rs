//! Other SMTP crates beside this one: what each reads, and how fast.
