"""Each objective, sampler and mixture is held in float64 to its equation or public code, on the same random rows.

Sources: yshinya6/clip-refine 3879a2b, deepglint/UniME d565584, deepglint/unicom ae71411 (ArcFace of MCIP; the trainers
of MCIP and MLCD are not public), dell-research-harvard/clippings 16e3cd0, yongliu20/GKC 21313c8,
OpenSparseLLMs/CLIP-MoE 971b29f, HealthX-Lab/CLIP-SVD 022b1ed and muzairkhattak/multimodal-prompt-learning 904dbd7
(`labelled`). CLIP is held to the pseudocode of its paper, MLCD to its equation. LightCLIP, DCLIP,
VladVA and un2CLIP have no public code that could be had: they are held to what their docstrings say, which is a reading
of the papers' abstracts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss, nll_loss, normalize, one_hot, softmax

from evenly.features.refining.heads import Heads, HeadTraining
from evenly.features.refining.mixture import HeadMixture, MixtureTraining
from evenly.features.refining.objective import Batch, Sides, drawn_row
from evenly.features.refining.objectives import OBJECTIVES, SAMPLERS
from evenly.features.refining.pairs import PairRows, SharedRows
from evenly.features.refining.training import TrainingRule, train_heads

N, B, D, TEMPERATURE, SEED = 96, 24, 16, 0.05, 7
PLACES = np.arange(0, N, 4)
OTHERS = ~torch.eye(B, dtype=torch.bool)


def generator():
    return torch.Generator().manual_seed(SEED)


def shared(random, k, *shape):
    places = np.arange(N * k).reshape(N, k)
    places[1::8] = -1  # pairs that have none
    places[2::4, 1:] = -1
    return SharedRows(rows=random.normal(size=(N * k, *shape)), places=places)


@pytest.fixture(scope="module")
def given():
    random = np.random.default_rng(0)
    names = np.array([f"{number:02}" for number in range(N)])
    return PairRows(
        image=random.normal(size=(N, D)), text=random.normal(size=(N, D)), uids=names, captions=names,
        groups=np.array([f"group {number // 2}" for number in range(N)]),
        labels=np.array(["" if number % 3 else f"label {number % 5}" for number in range(N)]),
        views=shared(random, 4, D), words=shared(random, 3, D), second=shared(random, 4, 6), texts=shared(random, 2, D),
        duplicates=shared(random, 2, 2, D), synonyms=shared(random, 3, D), named=shared(random, 1, D),
        long_texts=np.array([f"the thing {n % 7} is {n % 5} here" * (n % 8 != 1) for n in range(N)], np.object_),
    )  # fmt: skip


@pytest.fixture(scope="module")
def refined():
    """Heads in double precision, as they are trained."""
    random = np.random.default_rng(1)
    shapes = {"down": (D, 3), "up": (3, D)}
    weights = {
        f"{side}_{part}": 0.3 * random.normal(size=shapes[part]) for side in ("image", "text") for part in shapes
    }
    parameters = {name: torch.from_numpy(values) for name, values in weights.items()}
    return lambda sides: HeadTraining(D, 3, seed=0).rows(parameters, sides, None)


@dataclass(frozen=True)
class Given:
    """Pairs, rows of a batch by the refined encoder and the frozen one, what refines, and what the objective trains."""

    pairs: PairRows
    now: Sides
    old: Sides
    refined: Callable[[Sides], Sides]
    weights: Mapping[str, torch.Tensor]


def before(pairs):
    return Sides(image=torch.from_numpy(pairs.image[PLACES]), text=torch.from_numpy(pairs.text[PLACES]))


def single(pairs):
    """Rows in single precision, as they are trained on."""
    return replace(pairs, image=pairs.image.astype(np.float32), text=pairs.text.astype(np.float32))


def batch_of(pairs, refined, *, progress=0.4, negatives=OTHERS):
    return Batch(
        places=PLACES, pairs=pairs, negatives=negatives, progress=progress, generator=generator(), refined=refined,
        texts=lambda rows, _: refined(Sides(image=rows, text=rows)).text,
    )  # fmt: skip


def info_nce(image, text):
    """CLIP, arXiv:2103.00020, figure 3."""
    logits = normalize(image) @ normalize(text).T / TEMPERATURE
    labels = torch.arange(len(logits))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def contrastive(of):
    return info_nce(of.now.image, of.now.text)


def clip_refine(of):
    """clip-refine, updater/contrastive.py: distill, kd_loss, RandRegUpdater; config alpha_blending .5, weights 1."""

    def distill(y_s, y_t, alpha=0.5):
        p_t = alpha * torch.eye(len(y_t)) + (1.0 - alpha) * softmax(y_t, dim=1)
        return kl_div(log_softmax(y_s, dim=1), p_t, reduction="batchmean")

    f_rand = torch.randn(of.now.image.shape, generator=generator(), dtype=torch.float64)
    loss_feat = mse_loss(of.now.image, f_rand) + mse_loss(of.now.text, f_rand)
    student, teacher = of.now.image @ of.now.text.T, of.old.image @ of.old.text.T
    return loss_feat + (distill(student, teacher) + distill(student.T, teacher.T)) / 2


def light_clip(of):
    """Label softening, a share that rises to .2, over captions by their likeness."""
    share, total = 0.2 * 0.4, 0.0
    texts, logits = normalize(of.old.text), normalize(of.now.image) @ normalize(of.now.text).T / TEMPERATURE
    likeness = torch.stack([softmax(texts @ one / TEMPERATURE, dim=0) for one in texts])
    for i in range(B):
        for j in range(B):
            y = (1 - share) * (i == j) + share * likeness[i, j]
            total -= y * (log_softmax(logits[i], dim=0)[j] + log_softmax(logits[:, j], dim=0)[i]) / 2
    return total / B


def drawn(places, n, chances=None):
    """The place that each pair draws by Gumbel-max: argmax of log weight - log(-log u)."""
    u = torch.rand(places.shape, generator=n, dtype=torch.float64)
    weights = torch.ones_like(u) if chances is None else chances
    scores = weights.log() - (-u.log()).log()
    return scores.masked_fill(torch.from_numpy(places < 0), -torch.inf).argmax(1)


def mcip(of):
    """unicom/partial_fc.py, CombinedMarginLoss with m1 = 1, m2 = .3, m3 = 0, s = 16, and cross-entropy."""
    named = [label or group for label, group in zip(of.pairs.labels, of.pairs.groups, strict=True)]
    classes = sorted({one for one in named if named.count(one) > 1}, key=lambda one: (one[0] == "l", one))
    unit = of.pairs.image / np.linalg.norm(of.pairs.image, axis=1, keepdims=True)
    weight = [unit[[one == name for one in named]].mean(axis=0) for name in classes]
    rows = [place for place, at in enumerate(PLACES) if named[at] in classes]
    labels = torch.tensor([classes.index(named[PLACES[place]]) for place in rows])
    theta = (normalize(of.now.image)[rows] @ normalize(torch.from_numpy(np.stack(weight))).T).arccos()
    theta[range(len(rows)), labels] += 0.3
    own, draws = of.pairs.texts.places[PLACES], generator()
    which = drawn(own, draws)
    is_other = (torch.rand(B, generator=draws) < 0.25) & torch.from_numpy((own >= 0).any(1))
    others = of.refined(
        Sides(image=of.old.image, text=torch.from_numpy(of.pairs.texts.rows[own[range(B), which]]))
    ).text
    return info_nce(of.now.image, torch.where(is_other[:, None], others, of.now.text)) + cross_entropy(
        16 * theta.cos(), labels
    )


def mlcd(of):
    """MLCD, arXiv:2407.17331: log(1 + sum exp(s_j)) over negatives + log(1 + sum exp(-s_i)) over positives."""
    unit, total = of.pairs.image / np.linalg.norm(of.pairs.image, axis=1, keepdims=True), 0.0
    centres = MiniBatchKMeans(n_clusters=12, random_state=SEED, n_init=1).fit(unit).cluster_centers_
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    for place, row in zip(PLACES, normalize(of.now.image), strict=True):
        own = np.argsort(-(centres @ unit[place]))[:8]
        s = 16 * torch.from_numpy(centres) @ row
        negative = torch.from_numpy(~np.isin(np.arange(12), own))
        total += (1 + s[negative].exp().sum()).log() + (1 + (-s[~negative]).exp().sum()).log()
    return info_nce(of.now.image, of.now.text) + 0.5 * total / 16 / B


def clippings(of):
    """clippings, train_clippings.py: norm(w image + (1 - w) text) and SupCon with one positive, the record."""

    def final_embeds(sides, im_wt=0.636):
        return normalize(im_wt * normalize(sides.image) + (1 - im_wt) * normalize(sides.text))

    own = of.pairs.duplicates.places[PLACES]
    rows = torch.from_numpy(of.pairs.duplicates.rows[own[range(B), drawn(own, generator())]])
    sims = final_embeds(of.refined(Sides(image=rows[:, 0], text=rows[:, 1]))) @ final_embeds(of.now).T / TEMPERATURE
    losses = [-(sims[i, i] - sims[i].exp().sum().log()) for i in range(B) if own[i, 0] >= 0]
    return info_nce(of.now.image, of.now.text) + sum(losses) / len(losses)


def dclip(of):
    """One head of attention each way over parts and words, what is seen added, low-rank maps; 1 - cosine to it."""
    image, text = normalize(of.old.image).clone(), normalize(of.old.text).clone()
    for i, place in enumerate(PLACES):
        views = normalize(torch.from_numpy(of.pairs.views.padded()[0][place]))
        words = normalize(
            torch.from_numpy(of.pairs.words.rows[of.pairs.words.places[place][of.pairs.words.places[place] >= 0]])
        )
        scores = 16 * (words @ of.weights["query"]) @ (views @ of.weights["key"]).T
        if len(words):
            image[i] += (softmax(scores, dim=1) @ views).mean(0)
            text[i] += (softmax(scores, dim=0).T @ words).mean(0)
    image, text = (
        image + image @ of.weights["image_down"] @ of.weights["image_up"],
        text + text @ of.weights["text_down"] @ of.weights["text_up"],
    )
    apart = 2 - (normalize(of.now.image) * normalize(image)).sum(1) - (normalize(of.now.text) * normalize(text)).sum(1)
    return info_nce(of.now.image, of.now.text) + info_nce(image, text) + apart.mean() / 2


def vladva(of):
    """Cross-entropy of the next word given the row and the three words before."""
    texts = [str(text).split() for text in of.pairs.long_texts]
    counts = {word: sum(text.count(word) for text in texts) for text in texts for word in text}
    number = {word: place for place, word in enumerate(sorted(counts, key=lambda one: (-counts[one], one)), start=2)}
    shares, losses = torch.rand((B, 8), generator=generator(), dtype=torch.float64), []
    for i, place in enumerate(PLACES):
        words = [0, 0, 0, *(number[word] for word in texts[place])]
        for share in shares[i] if texts[place] else ():
            at = 3 + int(share * (len(words) - 3))
            heard = torch.cat([of.weights["embed"][words[at - back]] for back in (3, 2, 1)]) @ of.weights["mix"]
            rows = normalize(of.now.image)[i] @ of.weights["image"], normalize(of.now.text)[i] @ of.weights["text"]
            losses += [-log_softmax((heard + row).tanh() @ of.weights["out"], dim=0)[words[at]] for row in rows]
    return info_nce(of.now.image, of.now.text) + 0.3 * sum(losses) / len(losses)


def un2clip(of):
    """Mean squares that a ridge regression leaves of projected details: (X'X + ridge tr(X'X) / d) W = X'Y."""
    projection = np.random.Generator(np.random.Philox(key=SEED)).normal(size=(6, 64)) / 8
    y = np.concatenate([part @ projection for part in np.moveaxis(of.pairs.second.padded()[0], 1, 0)], axis=1)
    y = (y - y.mean(axis=0)) / y.std()
    x = of.pairs.image / np.linalg.norm(of.pairs.image, axis=1, keepdims=True)
    centred = x - x.mean(axis=0)
    gram = centred.T @ centred
    weights = np.linalg.inv(gram + np.trace(gram) / D * np.eye(D)) @ centred.T @ y
    told = (normalize(of.now.image).numpy() - x.mean(axis=0)) @ weights
    return info_nce(of.now.image, of.now.text) + 4 * np.square(told - y[PLACES]).mean()


def gkc(of):
    """GKC: a synonym drawn is the label (prepare_targets_syn); loss_text_kd, of cosines less their mean."""
    own = of.pairs.synonyms.places[PLACES]
    cosines = (normalize(torch.from_numpy(of.pairs.synonyms.rows[own]), dim=2) * normalize(of.old.image)[:, None]).sum(
        2
    )
    chances = softmax(100 * cosines.masked_fill(torch.from_numpy(own < 0), -torch.inf), dim=1).nan_to_num(1).clamp(1e-9)
    rows = torch.from_numpy(of.pairs.synonyms.rows[own[range(B), drawn(own, generator(), chances)]])
    has = np.flatnonzero(own[:, 0] >= 0)
    v, t, names = (
        normalize(of.now.image)[has],
        normalize(rows)[has],
        normalize(of.refined(Sides(image=rows, text=rows)).text)[has],
    )
    labels, logits = of.pairs.labels[PLACES][has], v @ names.T / TEMPERATURE
    keep = torch.from_numpy(labels[:, None] != labels) | torch.eye(len(has), dtype=torch.bool)
    calibrated = cross_entropy(logits.masked_fill(~keep, -torch.inf), torch.arange(len(has)))
    v_dis, t_dis = v @ v.T, t @ t.T
    text_kd = ((t_dis - t_dis.mean() - v_dis + v_dis.mean()) ** 2).mean()
    return info_nce(of.now.image, of.now.text) + 0.5 * calibrated + text_kd


def label_rows(of):
    names = torch.from_numpy(of.pairs.named.rows)
    return of.refined(Sides(image=names, text=names)).text


def labelled(of):
    """CLIP-SVD, train.py, and MaPLe, trainers/maple.py: F.cross_entropy(logit_scale * image @ text.t(), label)."""
    own = of.pairs.named.places[PLACES][:, 0]
    has = np.flatnonzero(own >= 0)
    return cross_entropy(100 * normalize(of.now.image)[has] @ normalize(label_rows(of)).T, torch.from_numpy(own[has]))


def pseudo_labelled(of):
    """NoLA, utils/utils.py, LabelSmoothingCrossEntropy with epsilon .1, of the logits of `labelled`."""
    own = of.pairs.named.places[PLACES][:, 0]
    has = np.flatnonzero(own >= 0)
    log_preds = log_softmax(100 * normalize(of.now.image)[has] @ normalize(label_rows(of)).T, dim=-1)
    loss, nll = -log_preds.sum(dim=-1).mean(), nll_loss(log_preds, torch.from_numpy(own[has]))
    return 0.1 * (loss / log_preds.shape[-1]) + (1 - 0.1) * nll


FORMULAS = {
    formula.__name__: formula
    for formula in (
        contrastive, clip_refine, light_clip, mcip, mlcd, clippings, dclip, vladva, un2clip, gkc, labelled,
        pseudo_labelled,
    )
}  # fmt: skip


def prepared(name, pairs):
    options = {"pictures_per_cluster": 8} if name == "mlcd" else {"first_steps": 0} if name == "vladva" else {}
    objective = OBJECTIVES[name](**options)
    objective.prepare(pairs, seed=SEED)
    for values in objective.trained().values():  # some start at zero, where nothing would be seen of them
        values.add_(0.1 * torch.randn(values.shape, generator=generator(), dtype=torch.float64))
    return objective


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_that_of_its_source(name, given, refined):
    objective, old = prepared(name, given), before(given)
    now = refined(old)
    loss = objective.loss(batch_of(given, refined), now, old)
    expected = FORMULAS[name](Given(given, now, old, refined, objective.trained()))
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(float(expected), rel=0, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if OBJECTIVES[name].uses_negatives])
def test_what_is_no_negative_is_left_out_of_both_directions(name, given, refined):
    allowed = OTHERS & (torch.rand((B, B), generator=generator()) < 0.6)
    old = before(given)
    now = refined(old)
    logits = normalize(now.image) @ normalize(now.text).T / TEMPERATURE
    kept = logits.masked_fill(~(allowed | torch.eye(B, dtype=torch.bool)), -torch.inf)
    labels = torch.arange(B)
    expected = (cross_entropy(kept, labels) + cross_entropy(kept.T, labels)) / 2
    losses = [
        prepared("contrastive", given).loss(batch_of(given, refined, negatives=one), now, old)
        for one in (allowed, OTHERS)
    ]
    assert float(losses[0]) == pytest.approx(float(expected), rel=0, abs=1e-9)
    if name not in {"contrastive", "mcip", "dclip", "clippings"}:  # which set other rows against these too
        both = [
            prepared(name, given).loss(batch_of(given, refined, negatives=one), now, old) for one in (allowed, OTHERS)
        ]
        assert float(both[0] - both[1]) == pytest.approx(float(losses[0] - losses[1]), rel=0, abs=1e-9)


def test_texts_alone_follow_at_the_end_of_mcip(given, refined):
    old = before(given)
    now = Sides(image=refined(old).image.requires_grad_(), text=refined(old).text.requires_grad_())
    loss = prepared("mcip", given).loss(batch_of(given, refined, progress=0.7), now, old)
    assert loss.item() == pytest.approx(info_nce(now.image, now.text).item(), rel=0, abs=1e-9)
    loss.backward()
    assert now.image.grad is None
    assert now.text.grad.any()


def unime(similarity, k=8, threshold_value=0.1):
    """UniME, loss.py, _topk_filtered_cosine_similarity; what is left at -inf where fewer are left is no negative."""
    modified = similarity.clone()
    threshold = torch.diag(similarity).view(-1, 1) + threshold_value
    modified[(modified > threshold) & ~torch.eye(len(similarity), dtype=torch.bool)] = -torch.inf
    modified.fill_diagonal_(-torch.inf)
    values, indices = torch.topk(modified, k, dim=1)
    return one_hot(indices, len(similarity)).mul(values.isfinite()[:, :, None]).sum(1).bool()


CHOICES = {"unime": unime}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_negatives_are_those_of_the_source(name, given):
    now = before(given)
    cosines = normalize(now.image) @ normalize(now.text).T
    assert torch.equal(SAMPLERS[name]().negatives(OTHERS, now), CHOICES[name](cosines))


def test_the_negatives_are_picked_by_rows_as_they_are_refined(given):
    """UniME, loss.py: by the embeddings that are trained. At the first step these are the frozen ones, then no more."""
    seen = []

    class Looking(SAMPLERS["unime"]):
        def negatives(self, allowed, now):
            seen.append(now.image.detach().clone())
            return super().negatives(allowed, now)

    rule = TrainingRule(rank=4, epochs=2, batch_size=N, learning_rate=1e-2)
    list(train_heads(single(given), OBJECTIVES["contrastive"](), rule, seed=0, sampler=Looking()))
    rows = [one[one[:, 0].argsort()] for one in seen]
    assert len(rows) == 2
    assert not torch.allclose(rows[0], rows[1], atol=1e-4)


def test_the_loss_over_the_hardest_is_that_of_unime(given):
    """UniME, loss.py, SimpleContrastiveLossBatchRank: of queries to keys; ours has the other direction too."""
    old = before(given)
    x, y = normalize(old.image), normalize(old.text)
    chosen = SAMPLERS["unime"]().negatives(OTHERS, old)
    scores = [torch.cat([x[i] @ y[i : i + 1].T, x[i] @ y[chosen[i]].T]) / 0.02 for i in range(B)]
    one_way = torch.stack([-log_softmax(one, dim=0)[0] for one in scores]).mean()
    back = (x @ y.T / 0.02).masked_fill(~(chosen | torch.eye(B, dtype=torch.bool)), -torch.inf).T
    other_way = cross_entropy(back, torch.arange(B))
    loss = OBJECTIVES["contrastive"](temperature=0.02).loss(batch_of(given, None, negatives=chosen), old, old)
    assert float(loss) == pytest.approx(float(one_way + other_way) / 2, rel=0, abs=1e-9)


def test_rows_are_drawn_by_their_weights(given):
    own = given.synonyms.places[PLACES]
    chances = torch.rand((N, 3), generator=generator(), dtype=torch.float64)
    rows, has_one = drawn_row(given.synonyms, batch_of(given, None), weights=chances)
    expected = given.synonyms.rows[own[range(B), drawn(own, generator(), chances[PLACES])]]
    assert np.array_equal(rows.numpy()[has_one], expected[has_one])


@pytest.fixture(scope="module")
def mixture(given):
    """A mixture as it starts, and parameters in double precision, away from the start."""
    training = MixtureTraining(given, 8, experts=4, seed=SEED)
    noise = generator()
    drawn_parameters = {
        name: values.double() + 0.3 * torch.randn(values.shape, generator=noise, dtype=torch.float64)
        for name, values in training.start().items()
    }
    return training, drawn_parameters


def routed(rows, of, side):
    """CLIP-MoE, model_clipmoe.py, MoEResidualAttentionBlock.forward, with heads for feed-forward layers."""
    router_logits = normalize(rows) @ of[f"{side}_router"] + of[f"{side}_bias"]
    routing_weights, selected_experts = torch.topk(softmax(router_logits, dim=1), 2, dim=-1)
    routing_weights /= routing_weights.sum(dim=-1, keepdim=True)
    final = torch.zeros_like(rows)
    for row, (weights, experts) in enumerate(zip(routing_weights, selected_experts, strict=True)):
        for weight, expert in zip(weights, experts, strict=True):
            final[row] += weight * (rows[row] @ of[f"{side}_down"][expert] @ of[f"{side}_up"][expert])
    return final, router_logits


def load_balancing(gate_logits, top_k=2):
    """CLIP-MoE, model_clipmoe.py, load_balancing_loss_func."""
    routing_weights = softmax(gate_logits, dim=-1)
    expert_mask = one_hot(torch.topk(routing_weights, top_k, dim=-1).indices, gate_logits.shape[-1])
    tokens_per_expert, router_prob_per_expert = expert_mask.double().mean(0), routing_weights.mean(0)
    return (tokens_per_expert * router_prob_per_expert.unsqueeze(0)).sum() * gate_logits.shape[-1]


def test_the_mixture_routes_as_clip_moe(given, mixture):
    training, of = mixture
    old = before(given)
    now = training.rows(of, old, None)
    for side in ("image", "text"):
        rows = getattr(old, side)
        assert torch.allclose(getattr(now, side), rows + routed(rows, of, side)[0], rtol=0, atol=1e-9)
    image, text = (load_balancing(routed(getattr(old, side), of, side)[1]) for side in ("image", "text"))
    expected = 0.01 * (image + text / 2)  # train/train_moe.py, beta = .01, where short texts are off
    assert float(training.penalty(of, old)) == pytest.approx(float(expected), rel=0, abs=1e-9)


def test_the_router_begins_at_the_clusters_of_the_pairs(given, mixture):
    start = mixture[0].start()
    unit = {side: normalize(torch.from_numpy(getattr(given, side))).numpy() for side in ("image", "text")}
    labels = KMeans(n_clusters=4, random_state=SEED, n_init=1).fit(unit["image"]).labels_
    for side, rows in unit.items():
        centres = np.stack([rows[labels == label].mean(axis=0) - rows.mean(axis=0) for label in range(4)])
        cosines = (rows - rows.mean(axis=0)) @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
        logits = rows @ start[f"{side}_router"].numpy() + start[f"{side}_bias"].numpy()
        assert np.allclose(logits, 16 * cosines, rtol=0, atol=1e-5)  # what is stored is in single precision


def test_the_strength_is_between_the_frozen_encoder_and_what_was_trained(given, mixture):
    """WiSE-FT, arXiv:2109.01903, equation 1, of rows: for a map that is linear in its weights the same."""
    random, s = np.random.default_rng(3), 0.25
    arrays = Heads.start(D, 3, seed=0).arrays() | {"image_up": random.normal(size=(3, D)).astype(np.float32)}
    double = {name: values.astype(np.float64) for name, values in arrays.items()}
    trained = given.image + given.image @ double["image_down"] @ double["image_up"]
    expected = (1 - s) * given.image + s * trained
    assert np.allclose(Heads(**arrays, strength=s).image(given.image), expected, rtol=1.2e-7, atol=1e-9)
    weights = {name: values.numpy().astype(np.float32) for name, values in mixture[1].items()}
    of = {name: torch.from_numpy(values.astype(np.float64)) for name, values in weights.items()}
    added = routed(torch.from_numpy(given.image), of, "image")[0].numpy()
    made = HeadMixture(weights=weights, strength=s).image(given.image)
    assert np.allclose(made, given.image + s * added, rtol=1.2e-7, atol=1e-9)  # rows are given in single precision
