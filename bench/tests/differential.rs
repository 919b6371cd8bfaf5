//! A differential run is silent between twins and finds what is known to differ.
//!
//! `.ci/run` plays 20,000 operations and more to Farwatch and ZooKeeper with the program
//! `differential`; here it is the tool itself that is tested.

use anyhow::Result;
use farwatch_bench::differential::{Kind, Kinds, Pair, Script, Wishes};
use farwatch_bench::subject::{Ensemble, Options, Subject, built_binary};

/// Nothing is reaped while a script runs; with or without TTL nodes.
fn options(extended_types: bool) -> Options {
    Options::new()
        .line(&format!("extendedTypesEnabled={extended_types}"))
        .line("znode.container.checkIntervalMs=86400000")
}

fn server(extended_types: bool) -> Result<Subject> {
    Subject::farwatch(built_binary()?, options(extended_types))
}

const KINDS: Kinds = Kinds { a: Kind::Farwatch, b: Kind::Farwatch, in_ensemble: false };

#[test]
fn two_servers_of_one_release_do_not_differ() -> Result<()> {
    let (a, b) = (server(true)?, server(true)?);
    let kinds = KINDS;
    let mut pair = Pair::new((vec![a.address()], vec![b.address()]), kinds, true, "twins");
    let seed = 7;
    let wishes = Wishes { kinds, bursts_percent: 20 };
    let finding = Script { seed, count: 2_000, wishes }.run(&mut pair);
    assert!(finding.is_none(), "seed {seed}: {:?}", finding.map(|finding| finding.divergence));
    // Silence means nothing if the script reached nothing.
    let reached =
        |err| pair.reached.keys().any(|&(_, frame, number)| (frame, number) == ("reply", err));
    for err in [0, -5, -6, -8, -101, -102, -103, -108, -110, -111, -114, -115, -121, -123] {
        assert!(reached(err), "no reply had the error {err}");
    }
    for kind in 1..=4 {
        assert!(pair.reached.contains_key(&(None, "event", kind)), "no event was of type {kind}");
    }
    Ok(())
}

#[test]
fn two_ensembles_do_not_differ_whichever_servers_lead() -> Result<()> {
    let start = || Ensemble::farwatch(built_binary()?, 3, &options(true));
    let (a, b) = (start()?, start()?);
    // The order in which clients are spread over the servers is another one in B.
    let addresses = |ensemble: &Ensemble, first: u32| {
        (0..3).map(|offset| ensemble.address((first + offset) % 3 + 1)).collect()
    };
    let (leads_a, leads_b) = (a.leader()?, b.leader()?);
    let servers = (addresses(&a, leads_a), addresses(&b, leads_b + 1));
    let kinds = Kinds { in_ensemble: true, ..KINDS };
    let mut pair = Pair::new(servers, kinds, false, "triplets");
    let (seed, wishes) = (11, Wishes { kinds, bursts_percent: 20 });
    let finding = Script { seed, count: 1_000, wishes }.run(&mut pair);
    assert!(finding.is_none(), "seed {seed}: {:?}", finding.map(|finding| finding.divergence));
    let differing: Vec<_> = pair.explained.keys().collect();
    assert!(differing.iter().all(|id| **id == "config-node"), "{differing:?}");
    Ok(())
}

#[test]
fn a_server_with_another_configuration_is_found_out_by_few_steps() -> Result<()> {
    let (a, b) = (server(true)?, server(false)?);
    let kinds = KINDS;
    let mut pair = Pair::new((vec![a.address()], vec![b.address()]), kinds, true, "unlike");
    let wishes = Wishes { kinds, bursts_percent: 0 };
    let finding =
        Script { seed: 7, count: 2_000, wishes }.run(&mut pair).expect("B refuses TTL nodes");
    assert_eq!(finding.divergence.differences[0].place, "0 reply.err");
    let script = finding.minimise(&mut pair).expect("it is no race");
    assert!(script.len() <= 3, "{script:?}");
    Ok(())
}
