//! Pickles assembled by hand, sound and hostile.

use super::*;
use crate::store::dtype::Dtype;
use crate::store::zip::ZipWriter;

fn open(bytes: &[u8]) -> Result<Checkpoint> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    crate::durable::write(&path, bytes).unwrap();
    Checkpoint::open(path)
}

fn archive(pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zip = ZipWriter::new(&mut bytes);
    zip.add("x/data.pkl", pickle).unwrap();
    for (name, content) in entries {
        zip.add(&format!("x/{name}"), content).unwrap();
    }
    zip.finish().unwrap();
    bytes
}

/// `{"a": tensor}` over the float storage `0` of so many elements.
fn one_tensor(elements: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}(X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    out.extend(b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuK");
    out.extend([elements]);
    out.extend([b't', b'Q', b'K', offset, b'(']);
    shape.iter().for_each(|&s| out.extend([b'K', s]));
    out.extend(b"t(");
    strides.iter().for_each(|&s| out.extend([b'K', s]));
    out.extend(b"t\x89}tRu.");
    out
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn contiguous_tensors_are_slices_and_strided_ones_are_gathered() {
    let storage = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let tensors = |offset, shape: &[u8], strides: &[u8]| {
        let bytes = archive(&one_tensor(7, offset, shape, strides), &[("data/0", &storage)]);
        let checkpoint = open(&bytes).unwrap();
        let tensor = checkpoint.value().tensors().unwrap().remove(0);
        assert_eq!((&*tensor.name, tensor.dtype, tensor.shape.len()), ("a", Dtype::F32, shape.len()));
        (tensor.bytes.into_owned(), matches!(checkpoint.tensors().unwrap()[0].bytes, std::borrow::Cow::Borrowed(_)))
    };
    assert_eq!(tensors(1, &[2, 3], &[3, 1]), (floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), true));
    assert_eq!(tensors(1, &[2, 3], &[1, 2]), (floats(&[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]), false));
    assert_eq!(tensors(2, &[3], &[0]), (floats(&[2.0, 2.0, 2.0]), false));
    assert_eq!(tensors(6, &[], &[]), (floats(&[6.0]), true));
    assert_eq!(tensors(9, &[0, 4], &[4, 1]), (vec![], true));
}

#[test]
fn tensors_outside_of_their_storage_are_refused() {
    let storage = floats(&[0.0; 7]);
    let problem =
        |pickle: &[u8], storage: &[u8]| open(&archive(pickle, &[("data/0", storage)])).unwrap_err().to_string();
    let found = problem(&one_tensor(7, 2, &[2, 3], &[3, 1]), &storage);
    assert!(found.contains("a tensor of shape [2, 3] reaches element 7 of a storage of 7 elements"), "{found}");
    let found = problem(&one_tensor(8, 0, &[1], &[1]), &storage);
    assert!(found.contains("storage `0` claims 8 F32 (32 bytes), but its entry has 28"), "{found}");
    let found = problem(&one_tensor(7, 0, &[1, 2], &[1]), &storage);
    assert!(found.contains("2 sizes and 1 strides"), "{found}");
    let missing = open(&archive(&one_tensor(7, 0, &[1], &[1]), &[])).unwrap_err().to_string();
    assert!(missing.contains("no entry `x/data/0`"), "{missing}");
    let mut damaged = archive(&one_tensor(7, 0, &[1], &[1]), &[("data/0", &[3; 28])]);
    let at = damaged.windows(28).position(|w| w == [3; 28]).unwrap();
    damaged[at + 27] = 4;
    assert!(open(&damaged).unwrap_err().to_string().contains("has the checksum"));
}

#[test]
fn calls_are_never_run_and_refuse_to_be_values() {
    let checkpoint = open(b"\x80\x02cos\nsystem\nX\x0b\0\0\0touch pwned\x85R.").unwrap();
    assert_eq!(checkpoint.unknown(), ["os.system"]);
    assert_eq!(checkpoint.value().kind(), Kind::Object("os.system"));
    let refused = checkpoint.value().int().unwrap_err().to_string();
    assert!(refused.contains("an object of the class `os.system` stands where an integer is expected"), "{refused}");
    let refused = checkpoint.tensors().unwrap_err().to_string();
    assert!(refused.contains("holds no tensors but an object of the class `os.system`"), "{refused}");
}

#[test]
fn hostile_programs_end_in_clear_errors() {
    let cases: [(&[u8], &str); 16] = [
        (b"\x80\x02]K\x01K\x02s.", "entries are set on a list, expected a dictionary"),
        (b"\x80\x02}K\x01a.", "items are added to a dictionary, expected a list"),
        (b"\x80\x02}(K\x01u.", "a key has no value"),
        (b"\x80\x02.", "the stack is empty"),
        (b"\x80\x02(N(00.", "the stack is empty"),
        (b"\x80\x02t.", "there is no mark"),
        (b"\x80\x02h\x05.", "nothing was stored under 5"),
        (b"\x80\x02K\x01)R.", "an integer is called, expected a name"),
        (b"\x80\x02X\xff\xff\xff\xff.", "truncated"),
        (b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "truncated"),
        (b"\x80\x02X\x01\0\0\0\xff.", "a text is no UTF-8"),
        (b"\x80\x00.", "protocol 0, expected 2 to 5"),
        (b"\x80\x02\x82\x01.", "the opcode 0x82 is not supported"),
        (b"\x80\x02X\x01\0\0\0aQ.", "expected a tuple, found a text"),
        (b"\x80\x02K\x01)b.", "a state is set on an integer"),
        (b"\x80\x02c_codecs\nencode\nX\x02\0\0\0\xc4\x80X\x06\0\0\0latin1\x86R.", "a text is no latin-1"),
    ];
    for (pickle, expected) in cases {
        let found = open(pickle).unwrap_err().to_string();
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let legacy = open(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.").unwrap_err();
    assert!(legacy.to_string().contains("the format of PyTorch before 1.6"));
    let other = open(b"\x02\0\0\0\0\0\0\0{}").unwrap_err();
    assert!(other.to_string().contains("is a safetensors file"));
    assert_eq!(other.hint_text().as_deref(), Some("name it `.safetensors`"));
}

#[test]
fn bombs_of_references_are_stopped() {
    // Thirty lists, each holding the one before twice.
    let mut laughs = b"\x80\x02]q\x00".to_vec();
    for level in 1..=30u8 {
        laughs.extend([b'0', b']', b'q', level, b'(', b'h', level - 1, b'h', level - 1, b'e']);
    }
    laughs.push(b'.');
    let found = open(&laughs).unwrap().tensors().unwrap_err().to_string();
    assert!(found.contains("nested too deeply or refer to each other"), "{found}");
    // A list that holds itself.
    let found = open(b"\x80\x02]q\x00h\x00a.").unwrap().tensors().unwrap_err().to_string();
    assert!(found.contains("nested too deeply or refer to each other"), "{found}");
    // A long text, encoded again and again.
    let mut encoder = b"\x80\x02c_codecs\nencode\nq\x000X\x00\x00\x10\x00".to_vec();
    encoder.extend([b'a'; 1 << 20]);
    encoder.extend(b"q\x01X\x06\0\0\0latin1\x86q\x020");
    encoder.extend(b"h\x00h\x02R0".repeat(1000));
    encoder.extend(b"N.");
    assert!(open(&encoder).unwrap_err().to_string().contains("calls make more than"));
}

#[test]
fn numpy_arrays_scalars_and_dictionaries_are_read() {
    // {"v": array([1, -2], dtype='<i8'), "n": 3.5, "deep": {"t": (True, None)}}
    let mut pickle =
        b"\x80\x02}(X\x01\0\0\0vcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R".to_vec();
    pickle.extend(b"(K\x01K\x02\x85cnumpy\ndtype\nX\x02\0\0\0i8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x10");
    pickle.extend(1i64.to_le_bytes());
    pickle.extend((-2i64).to_le_bytes());
    pickle.extend(b"tbX\x01\0\0\0nG");
    pickle.extend(3.5f64.to_be_bytes());
    pickle.extend(b"X\x04\0\0\0deep}X\x01\0\0\0t\x88N\x86su.");
    let checkpoint = open(&pickle).unwrap();
    let value = checkpoint.value();
    let array = value.expect("v").unwrap().array().unwrap();
    assert_eq!(array, Array { shape: vec![2], column: Column::Ints(vec![1, -2]) });
    assert_eq!(value.expect("n").unwrap().float().unwrap(), 3.5);
    let items: Vec<_> = value.expect("deep").unwrap().expect("t").unwrap().items().map(Value::kind).collect();
    assert_eq!(items, [Kind::Bool(true), Kind::None]);
    assert_eq!(value.expect("dep").unwrap_err().hint_text().as_deref(), Some("did you mean `deep`?"));
    // One byte less than the shape asks for.
    let short = String::from_utf8_lossy(&pickle).find("C\u{10}").unwrap();
    assert!(short > 0);
    let at = pickle.windows(2).position(|w| w == b"C\x10").unwrap();
    pickle[at + 1] = 15;
    pickle.remove(at + 2);
    let misfit = open(&pickle).unwrap().value().expect("v").unwrap().array().unwrap_err().to_string();
    assert!(misfit.contains("an array of shape [2] does not fit its data"), "{misfit}");
}

#[test]
fn state_dicts_survive_a_round_trip_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    let tensor = |name: &'static str, dtype, shape: &[usize], bytes: Vec<u8>| NamedTensor {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
        bytes: bytes.into(),
    };
    let tensors = [
        tensor("z.weight", Dtype::F32, &[300, 2], floats(&[0.5; 600])),
        tensor("a.running", Dtype::I64, &[], 7i64.to_le_bytes().to_vec()),
        tensor("mask", Dtype::Bool, &[3], vec![1, 0, 1]),
        tensor("none", Dtype::F64, &[0, 3], vec![]),
        tensor("half", Dtype::BF16, &[1, 2], vec![1, 2, 3, 4]),
    ];
    let written = write_state_dict(&path, &tensors).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.tensors().unwrap(), tensors);
    assert!(checkpoint.unknown().is_empty());
    let again = write_state_dict(folder.path().join("again.pt"), &checkpoint.tensors().unwrap()).unwrap();
    assert_eq!(again.blake3, written.blake3);
    let twice = [tensors[0].clone(), tensors[0].clone()];
    assert!(write_state_dict(&path, &twice).unwrap_err().to_string().contains("`z.weight` appears twice"));
}

#[test]
fn the_model_is_found_in_a_training_checkpoint() {
    let inner = one_tensor(1, 0, &[1], &[1]);
    let mut pickle = b"\x80\x02}(X\x05\0\0\0epochK\x03X\x0a\0\0\0state_dict".to_vec();
    pickle.extend(&inner[2..inner.len() - 1]);
    pickle.extend(b"u.");
    let checkpoint = open(&archive(&pickle, &[("data/0", &floats(&[1.0]))])).unwrap();
    assert_eq!(checkpoint.tensors().unwrap()[0].name, "a");
    assert_eq!(checkpoint.value().tensors().unwrap()[0].name, "state_dict.a");
    assert_eq!(checkpoint.value().expect("epoch").unwrap().int().unwrap(), 3);
}
