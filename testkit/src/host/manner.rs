//! How a host behaves: all of it is allowed, and nothing of it may matter.

/// When a decision is made that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At once.
    Now,
    /// When the host is told to.
    Later,
}

/// What becomes of advice to discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    Taken,
    Lost,
    /// Carried out at the next [`Host::settle`](super::Host::settle), or when the session lets go
    /// of its claim.
    Late,
}

/// In which order a session is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Events until there are none, then output.
    EventsFirst,
    /// Output before every event.
    OutputFirst,
    /// Content is taken after every event, announced or not.
    ContentEager,
    /// An early time-out before and after every event.
    TimeoutsOften,
    /// One event, then output, in turn; octets come one by one.
    OneByOne,
    /// Output leaves octet by octet, lent.
    Trickle,
}

pub(crate) const ORDERS: [Order; 6] = [
    Order::EventsFirst,
    Order::OutputFirst,
    Order::ContentEager,
    Order::TimeoutsOften,
    Order::OneByOne,
    Order::Trickle,
];

/// What happens to a session whose key is claimed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// It finds out by itself.
    Unsaid,
    /// It is told after the claim.
    Told,
    /// It is told before, and stores what it has.
    GivesWay,
}

pub(crate) const TAKEOVERS: [Takeover; 3] = [Takeover::Unsaid, Takeover::Told, Takeover::GivesWay];

#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// The codes of the final replies, in turn.
    pub(crate) verdict: Vec<u16>,
    pub(crate) when: When,
    pub(crate) advice: Advice,
    pub(crate) order: Order,
    pub(crate) takeover: Takeover,
    /// Recipients whose name begins with `grey` are deferred.
    pub(crate) grey: bool,
    /// DETA is over the limit.
    pub(crate) limited: bool,
    /// Store calls are made one at a time, when the host is told to.
    pub(crate) stepwise: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            verdict: vec![250],
            when: When::Now,
            advice: Advice::Taken,
            order: Order::EventsFirst,
            takeover: Takeover::GivesWay,
            grey: false,
            limited: false,
            stepwise: false,
        }
    }
}
