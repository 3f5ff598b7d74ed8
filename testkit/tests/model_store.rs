//! The model store keeps all promises, in every case of every suite.
#![allow(missing_docs)]

use smtp_checkpoint_testkit::{Failure, ModelStore, Report, Suite};

fn suite() -> Suite<fn() -> ModelStore> {
    Suite::new(ModelStore::new)
}

fn done(report: &Report, at_least: u64) {
    println!("{report}");
    assert!(report.cases >= at_least, "{report}");
}

#[test]
fn cuts() -> Result<(), Failure> {
    let report = suite().cuts()?;
    done(&report, 40_000);
    assert!(report.restarts > 10_000 && report.octets_saved > 100_000);
    Ok(())
}

#[test]
fn crashes() -> Result<(), Failure> {
    let report = suite().crashes()?;
    done(&report, 10_000);
    assert!(report.crashes > 10_000 && report.failures > 1_000);
    Ok(())
}

#[test]
fn fencing() -> Result<(), Failure> {
    done(&suite().fencing()?, 30_000);
    Ok(())
}

#[test]
fn detached() -> Result<(), Failure> {
    let report = suite().detached()?;
    done(&report, 50_000);
    assert!(report.crashes > 10_000 && report.failures > 1_000);
    Ok(())
}

#[test]
fn two_hosts() -> Result<(), Failure> {
    done(&suite().two_hosts()?, 50_000);
    Ok(())
}

#[test]
fn lmtp() -> Result<(), Failure> {
    done(&suite().lmtp()?, 5_000);
    Ok(())
}

#[test]
fn identities() -> Result<(), Failure> {
    done(&suite().identities()?, 1_000);
    Ok(())
}
