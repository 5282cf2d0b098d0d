//! What is logged about a model before training: its layers, shapes and sizes.

use std::fmt::Write;

use tch::Tensor;

/// One line of the table: a layer with the tensors that it holds itself.
struct Layer {
    name: String,
    tensors: Vec<String>,
    elements: u64,
}

/// A table of layers (the names up to the last dot), their tensors with shapes, their numbers of elements, and totals.
/// `state` is what [`crate::Params::state`] gives; what is not trained (buffers, frozen parameters) has a star.
pub fn summary(title: &str, state: &[(String, Tensor)]) -> String {
    let mut layers: Vec<Layer> = Vec::new();
    let (mut trainable, mut fixed, mut bytes) = (0_u64, 0_u64, 0_u64);
    for (name, tensor) in state {
        let (layer, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let star = if tensor.requires_grad() { "" } else { "*" };
        let entry = format!("{leaf}{star} {}", shape(&tensor.size()));
        let elements = tensor.numel() as u64;
        if tensor.requires_grad() {
            trainable += elements;
        } else {
            fixed += elements;
        }
        bytes += elements * tensor.kind().elt_size_in_bytes() as u64;
        match layers.last_mut().filter(|last| last.name == layer) {
            Some(last) => {
                last.tensors.push(entry);
                last.elements += elements;
            }
            None => layers.push(Layer { name: layer.to_string(), tensors: vec![entry], elements }),
        }
    }

    let width = layers.iter().map(|l| l.name.len()).max().unwrap_or(0).max("layer".len());
    let mut text = format!("{title}\n{:<width$}  {:>12}  tensors\n", "layer", "elements");
    for layer in &layers {
        // An LSTM layer has eight tensors or more: show the first few, count the rest.
        const SHOWN: usize = 4;
        let more = layer.tensors.len().saturating_sub(SHOWN);
        let mut shown = layer.tensors[..layer.tensors.len() - more].join(", ");
        if more > 0 {
            let _ = write!(shown, " and {more} more");
        }
        let _ = writeln!(text, "{:<width$}  {:>12}  {shown}", layer.name, grouped(layer.elements));
    }
    let _ = writeln!(
        text,
        "{} tensors, {} parameters: {} trainable, {} not; {:.1} MB",
        state.len(),
        grouped(trainable + fixed),
        grouped(trainable),
        grouped(fixed),
        bytes as f64 / 1e6
    );
    text
}

fn shape(size: &[i64]) -> String {
    format!("[{}]", size.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// `12117006` as `12,117,006`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_table_counts_what_is_trained_and_what_is_not() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let state = vec![
            ("pos.pe".to_string(), zeros(&[1, 60, 26])),
            ("fc.0.weight".to_string(), zeros(&[14, 512]).set_requires_grad(true)),
            ("fc.0.bias".to_string(), zeros(&[14]).set_requires_grad(true)),
        ];
        let expected = "\
reslstm
layer      elements  tensors
pos           1,560  pe* [1, 60, 26]
fc.0          7,182  weight [14, 512], bias [14]
3 tensors, 8,742 parameters: 7,182 trainable, 1,560 not; 0.0 MB
";
        assert_eq!(summary("reslstm", &state), expected);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 12_117_006].map(grouped), ["0", "999", "1,000", "12,117,006"]);
    }

    #[test]
    fn layers_with_many_tensors_are_shortened() {
        let one = || Tensor::zeros([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let state: Vec<_> = (0..8).map(|i| (format!("lstm.w{i}"), one())).collect();
        assert!(summary("m", &state).contains("w3 [2] and 4 more\n"));
    }
}
