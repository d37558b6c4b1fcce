//! What GitHub sends us, read into one closed set of events.
//! It must never decide who may do what; that is the gate's.
