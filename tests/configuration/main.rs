//! The configuration and what people are told of it.

mod arbitrary;
mod check;
mod messages;
mod mistakes;
mod problems;
mod shipped;
mod warnings;

/// A project that can be used, and a policy.
pub(crate) const PROJECT: &str = "\
[[project]]
name = 'prod'
region = 'eu-west-101'
project_id = '6204a5bd270343b5885144cf9c8c158d'
credentials = 'main'
[credentials.main]
type = 'ak-sk'
access_key = { env = 'AK' }
secret_key = { env = 'SK' }
";
pub(crate) const POLICY: &str = "[[policy]]\nname = 'logs'\n";
