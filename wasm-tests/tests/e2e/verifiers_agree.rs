//! Envoy's verifier and the module's give the same verdict on every token of the corpus, and on ten thousand random
//! mutations of good ones.

use std::collections::BTreeSet;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::json;
use wasm_tests::{
    Stack,
    corpus::{
        keys::{Counter, Signer},
        tokens,
    },
};

const MUTATIONS: usize = 10_000;
/// The most bytes of cases in one request. A longer case has its own request.
const BATCH_BYTES: usize = 40_000;
const SEED: u64 = 0x6175_7468_6761_7465;

/// What a verifier is asked, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    signature: Vec<u8>,
    message: Vec<u8>,
}

impl Question {
    /// A token as a verifier sees it. A part that isn't base64 stays as it is.
    fn of(token: &[u8]) -> Self {
        let dot = token.iter().rposition(|byte| *byte == b'.').unwrap_or(token.len());
        let signature = token.get(dot + 1..).unwrap_or_default();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_else(|_| signature.to_vec());
        Self { signature, message: token[..dot].to_vec() }
    }
}

/// Good questions to start from. They are small, because every byte of them goes over the wire.
fn originals(signer: &Signer) -> Vec<Question> {
    let claims = |number| json!({"exp": 4_102_444_800_u64, "user_id": number, "client_id": 70, "token_type": "access"});
    (0..16).map(|number| Question::of(signer.claims(claims(number).to_string()).as_bytes())).collect()
}

/// Changes a good question in one of many ways.
fn mutated(original: &Question, other: &Question, modulus: &[u8], random: &mut Counter) -> Question {
    let mut question = original.clone();
    let Question { signature, message } = &mut question;
    let flip = |bytes: &mut Vec<u8>, random: &mut Counter| {
        let bit = random.below(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    };
    match random.below(20) {
        0..4 => flip(signature, random),
        4..7 => flip(message, random),
        7 => (0..1 + random.below(32)).for_each(|_| flip(signature, random)),
        8 => signature.truncate(random.below(256)),
        9 => message.truncate(random.below(message.len())),
        10 => signature.splice(0..0, vec![0; 1 + random.below(3)]).for_each(drop),
        11 => signature.extend(vec![0; 1 + random.below(3)]),
        12 => signature.clone_from(&other.signature),
        13 => message.clone_from(&other.message),
        14 => signature.iter_mut().for_each(|byte| *byte = random.below(256).to_le_bytes()[0]),
        15 => signature.rotate_left(1 + random.below(255)),
        16 => message.insert(random.below(message.len()), b"A.=-_ \0\xff"[random.below(8)]),
        17 => *signature = added(signature, modulus),
        18 => {
            let start = random.below(256);
            let end = (start + 1 + random.below(64)).min(256);
            signature[start..end].fill(if random.below(2) == 0 { 0 } else { 0xff });
        }
        _ => std::mem::swap(signature, message),
    }
    question
}

/// The sum of two numbers, most significant byte first, with room for a carry.
fn added(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut sum = left.to_vec();
    let mut carry = 0;
    for (byte, more) in sum.iter_mut().zip(right).rev() {
        let total = u16::from(*byte) + u16::from(*more) + carry;
        *byte = total.to_le_bytes()[0];
        carry = total >> 8;
    }
    if carry > 0 {
        sum.insert(0, 1);
    }
    sum
}

/// The verdicts of both verifiers on each question.
async fn ask(stack: &Stack, signer: &Signer, questions: &[Question]) -> Vec<String> {
    let key = BASE64_STANDARD.encode(signer.public_der());
    let encoded = questions.iter().map(|question| {
        format!("{}.{}", BASE64_STANDARD.encode(&question.signature), BASE64_STANDARD.encode(&question.message))
    });
    let mut batches: Vec<String> = Vec::new();
    for case in encoded {
        match batches.last_mut() {
            Some(batch) if batch.len() + case.len() < BATCH_BYTES => batch.extend([",", &case]),
            _ => batches.push(case),
        }
    }
    let mut verdicts = Vec::new();
    for pair in batches.chunks(4) {
        let requests =
            pair.iter().map(|batch| tokio::spawn(stack.get("/").header("x-key", &key).header("x-cases", batch).send()));
        for request in requests.collect::<Vec<_>>() {
            let answer = request.await.unwrap().unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            verdicts.extend(answer.text().as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).into_owned()));
        }
    }
    assert_eq!(verdicts.len(), questions.len());
    verdicts
}

#[tokio::test(flavor = "multi_thread")]
async fn both_verifiers_agree_on_the_corpus_and_ten_thousand_mutations() {
    let builder = Stack::builder()
        .concurrency(2)
        .without_auth_service()
        .module("test_module.wasm")
        .environment("VERIFIER_PROBE", "1");
    let stack = builder
        .envoy(|bootstrap| {
            let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
            bootstrap.pointer_mut(manager).unwrap()["max_request_headers_kb"] = json!(512);
        })
        .start()
        .await
        .unwrap();
    let signer = Signer::trusted();

    let cases = tokens::all();
    let questions: Vec<_> = cases.iter().map(|case| Question::of(&case.input)).collect();
    for (case, verdict) in cases.iter().zip(ask(&stack, &signer, &questions).await) {
        assert!(matches!(verdict.as_str(), "yy" | "nn"), "{}: {verdict}", case.name);
        if case.expected.to_string() == "200" {
            assert_eq!(verdict, "yy", "{}", case.name);
        }
        if case.expected.to_string() == "401 signature_invalid" {
            assert_eq!(verdict, "nn", "{}", case.name);
        }
    }

    let (originals, modulus) = (originals(&signer), signer.modulus());
    assert_eq!(ask(&stack, &signer, &originals).await, vec!["yy"; originals.len()]);
    let mut random = Counter(SEED);
    let questions: Vec<_> = (0..MUTATIONS)
        .map(|_| {
            let (one, other) = (random.below(originals.len()), random.below(originals.len()));
            mutated(&originals[one], &originals[other], &modulus, &mut random)
        })
        .collect();
    let verdicts = ask(&stack, &signer, &questions).await;
    for (question, verdict) in questions.iter().zip(&verdicts) {
        // Some mutations lead back to a good question.
        let expected = if originals.contains(question) { "yy" } else { "nn" };
        assert_eq!(verdict, expected, "{question:?}");
    }
    let kinds: BTreeSet<_> = questions.iter().map(|question| question.signature.len()).collect();
    assert!(kinds.len() > 100, "the mutations are of many kinds: {kinds:?}");
    assert_eq!(stack.envoy_exit(), None);
}
