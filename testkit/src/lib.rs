//! Simulated time, wires, disks and crashes for stores and sessions built on `smtp-checkpoint`.
