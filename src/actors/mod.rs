//! The actors, each a thin shell on a pure machine of `domain`.
//!
//! ```text
//! sources ─IngestBatch▶ Ingestor ─EventsAccepted▶ Aggregator ─BatchObserved▶ HealthEvaluator ─HealthChanged▶ Router ─▶ desk ─Deliver▶ SinkRunner ×N
//!                                                     ▲                        │  ▲    │                      ▲  ▲   journal                │
//!                                                     └─────AttemptsClosed─────┘  │    └WatchRequested▶ LivenessPoller                      │
//!                                                                                 └─────ProbesObserved────────┘  └────DeliverySettled───────┘
//! ```
//! Every edge is a `hand_over`; every mailbox holds [`crate::limits::MAILBOX_MESSAGES_MAX`] messages,
//! more than the [`crate::limits::BATCHES_IN_FLIGHT_MAX`] batches that may be under way.

pub mod aggregator;
pub mod desk;
pub mod health_evaluator;
pub mod ingestor;
pub mod lifecycle;
pub mod liveness_poller;
pub mod outlet;
pub mod pulse;
pub mod reporter;
pub mod roster;
pub mod router;
pub mod sink_runner;
pub mod status_board;
