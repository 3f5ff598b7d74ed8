//! Who disagrees with this crate, and who is right.

use std::collections::BTreeMap;

use super::escape::escape;
use super::wires::{self, Peer, State, Wire, rows};
use super::{client, server};

/// What everyone understood in one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The case.
    pub id: String,
    /// This crate.
    pub ours: String,
    /// Those who were asked; in the order of [`Peer::ALL`].
    pub peers: [Option<String>; Peer::ALL.len()],
}

impl Outcome {
    /// Whether all understood the same.
    #[must_use]
    pub fn is_unanimous(&self) -> bool {
        self.peers
            .iter()
            .flatten()
            .all(|theirs| *theirs == self.ours)
    }

    /// The cells of the table: the case, ours, and for each peer its own, "=" where it is ours, "-"
    /// where it was not asked.
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let cell = |theirs: &Option<String>| match theirs {
            None => "-".into(),
            Some(theirs) if *theirs == self.ours => "=".into(),
            Some(theirs) => shown(theirs),
        };
        let mut cells = vec![self.id.clone(), shown(&self.ours)];
        cells.extend(self.peers.iter().map(cell));
        cells
    }
}

/// Nothing at all is "nothing", so that no cell is empty.
fn shown(understood: &str) -> String {
    match understood {
        "" => "nothing".into(),
        understood => understood.into(),
    }
}

/// What aiosmtpd answered, by case and octets.
#[must_use]
pub fn aiosmtpd() -> BTreeMap<(String, String), String> {
    (rows(include_str!("../../data/aiosmtpd.tsv")))
        .map(|row| ((row[0].into(), row[1].into()), row[2].into()))
        .collect()
}

/// Asks all.
#[must_use]
pub fn outcomes() -> Vec<Outcome> {
    let aiosmtpd = aiosmtpd();
    let outcome = |wire: &Wire| {
        let is_client = matches!(wire.state, State::Reply | State::Ehlo);
        let ask = |peer| match peer {
            Peer::SmtpProto if is_client => client::smtp_proto(wire),
            Peer::SmtpProto => server::smtp_proto(wire),
            Peer::Mailrs => server::mailrs(wire),
            Peer::Lettre => client::lettre(wire),
            Peer::Aiosmtpd => {
                let asked = (wire.id.clone(), escape(&wire.octets));
                let answer = aiosmtpd.get(&asked).map(String::as_str);
                answer.unwrap_or("not recorded").into()
            }
        };
        Outcome {
            id: wire.id.clone(),
            ours: match is_client {
                true => client::ours(wire),
                false => server::ours(wire),
            },
            peers: Peer::ALL.map(|peer| wire.asked.contains(&peer).then(|| ask(peer))),
        }
    };
    wires::all().iter().map(outcome).collect()
}

/// A row of the table: the cells of an [`Outcome`], and who is right by what.
#[derive(Debug, Clone)]
pub struct Row {
    /// As of [`Outcome::cells`].
    pub cells: Vec<String>,
    /// Who is right: "ours", a peer, "both" where the texts leave it open.
    pub right: String,
    /// The section that says so, and how it applies.
    pub by: String,
}

/// The table as it stands.
#[must_use]
pub fn table() -> Vec<Row> {
    (rows(include_str!("../../data/disagreements.tsv")))
        .map(|row| {
            let [cells @ .., right, by] = &row[..] else {
                panic!("{row:?}");
            };
            Row {
                cells: cells.iter().map(|cell| (*cell).into()).collect(),
                right: (*right).into(),
                by: (*by).into(),
            }
        })
        .collect()
}

/// The first line of the table.
#[must_use]
pub fn head() -> String {
    let peers = Peer::ALL.map(Peer::name).join("\t");
    format!("#case\tours\t{peers}\tright\tby")
}

/// How often everyone was asked, disagreed and was right, as a table in Markdown.
#[must_use]
pub fn summary(table: &[Row]) -> String {
    let wires = wires::all();
    let mut lines = vec![
        "| | wires read | understood otherwise | ours is right | the other | open |".into(),
        "| --- | --: | --: | --: | --: | --: |".into(),
    ];
    for (index, peer) in Peer::ALL.into_iter().enumerate() {
        let asked = wires.iter().filter(|wire| wire.asked.contains(&peer));
        let otherwise = |row: &&Row| !matches!(&*row.cells[index + 2], "=" | "-");
        let rows: Vec<_> = table.iter().filter(otherwise).collect();
        let count = |right: &dyn Fn(&str) -> bool| {
            let counted = rows.iter().filter(|row| row.right.split(", ").any(right));
            counted.count()
        };
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} |",
            peer.name(),
            asked.count(),
            rows.len(),
            count(&|name| name == "ours"),
            count(&|name| name == peer.name()),
            count(&|name| name == "open"),
        ));
    }
    lines.join("\n") + "\n"
}
