//! The order of draining changes nothing.

use std::rc::Rc;

use super::Offer;
use super::manner::{Manner, ORDERS};
use crate::ModelStore;
use crate::client::{Caller, Who};
use crate::log::Log;
use crate::message::{contents, ways};
use crate::store::Unsynced;
use crate::wire::{Cut, Loss, World};

/// Events, content, output and early time-outs are drained in different orders, octets come at
/// once or one by one: the same octets on the wire, the same message delivered.
#[test]
fn order_of_draining_does_not_matter() {
    let mut runs = 0_u64;
    for (name, content) in contents() {
        for (way, message) in ways("m", &content) {
            let message = Rc::new(message);
            for up in [None, Some(90), Some(100), Some(110), Some(118)] {
                for (who, checkpoint_every) in [
                    (Who::Simple, None),
                    (Who::Simple, Some(4)),
                    (Who::Library(3), None),
                ] {
                    let loss = Loss::End;
                    let cut = up.map(|at| Cut { up: true, at, loss });
                    let mut first = None;
                    for order in ORDERS {
                        let manner = Manner {
                            order,
                            ..Manner::default()
                        };
                        let offer = Offer {
                            lmtp: false,
                            checkpoint_every,
                            ..Offer::default()
                        };
                        let stores = vec![ModelStore::new()];
                        let mut world =
                            World::new(stores, offer, &manner, None, &Log::default()).unwrap();
                        let caller = Caller::new(who, &message).unwrap();
                        let (course, _) = world.run(0, caller, &[cut], Unsynced::Lost, 2).unwrap();
                        world.check_delivered(&message, &["b@example.net"]).unwrap();
                        runs += 1;
                        let first = first.get_or_insert_with(|| course.clone());
                        assert_eq!(course, *first, "{name}, {way}, {order:?}, cut {up:?}");
                    }
                }
            }
        }
    }
    assert!(runs > 5000, "{runs}");
}
