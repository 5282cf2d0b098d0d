//! Parameter groups from the config.

use common::{Error, Result};

use super::Plan;
use crate::optim::Group;

/// The parameter groups: one for each prefix with a rate of its own, and the rest.
pub(super) fn groups(plan: &Plan) -> Result<Vec<Group>> {
    let rates = &plan.training.group_learning_rates;
    let (default, factor) = (plan.training.learning_rate, plan.training.rate_factor());
    let mut groups: Vec<Group> = vec![];
    for (name, tensor) in &plan.trainable {
        // The longest prefix wins, so that `lstm` and `lstm2` can both be given.
        let prefix =
            rates.iter().filter(|(prefix, _)| name.starts_with(prefix.as_str())).max_by_key(|(prefix, _)| prefix.len());
        let (group, lr) = prefix.map_or(("default", default), |(prefix, &rate)| (prefix.as_str(), rate));
        let parameter = (name.clone(), tensor.shallow_clone());
        match groups.iter_mut().find(|g| g.name == group) {
            Some(found) => found.params.push(parameter),
            None => groups.push(Group { name: group.to_string(), lr: lr * factor, params: vec![parameter] }),
        }
    }
    for prefix in rates.keys() {
        if !groups.iter().any(|group| group.name == *prefix) {
            return Err(Error::usage(format!(
                "`training.group_learning_rates.{prefix}`: no parameter's name begins so"
            )));
        }
    }
    Ok(groups)
}
