//! The built-in agent, a program among others that is started when the walls stand.
//! It must never need a privilege that another agent would not have.
