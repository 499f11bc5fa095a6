"""Every generator keeps one contract; each file is read exactly, or refused with a reason."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from synthdet.errors import UsageError, WeightsError
from tests.conftest import picture
from training.data.generators import GENERATORS, load_generator, regenerate
from training.data.generators.autoencoder import (
    AUTOENCODERS,
    NORMS,
    UPSAMPLINGS,
    AutoencoderSpec,
    SmallAutoencoder,
    make_spec,
    save_autoencoder,
)
from training.data.generators.base import FullPrecisionConv2d, Generator
from training.data.generators.diffusers_vae import LatentDiffusionAutoencoder, _split_name
from training.data.generators.super_resolution import (
    FastSrgan,
    SuperResolution,
    Waifu2x,
    _shrink,
    build_waifu2x,
)
from training.data.generators.taef2 import Taef2
from training.data.generators.train_autoencoder import Schedule, train_autoencoder


class Identity(Generator):
    """Gives back what it is given, and insists on sides that are a multiple."""

    name = "identity"

    def __init__(self, multiple: int = 8) -> None:
        super().__init__()
        self.multiple = multiple
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, pixels: torch.Tensor, seeds: object) -> torch.Tensor:
        assert all(side % self.multiple == 0 for side in pixels.shape[2:])
        return pixels + self.weight


def tiny_vae() -> LatentDiffusionAutoencoder:
    import diffusers  # slow to import, and only these tests need it

    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
    )
    return LatentDiffusionAutoencoder(vae, "tiny")


MAKERS = {
    "taef2": Taef2,
    "fast_srgan": lambda: SuperResolution(FastSrgan(width=4, blocks=1), 4, "fast_srgan"),
    "waifu2x": lambda: SuperResolution(Waifu2x(), 2, "waifu2x"),
    "autoencoder": lambda: SmallAutoencoder(AutoencoderSpec("nearest", 8, 4, width=4)),
    "diffusers": tiny_vae,
}


def test_every_generator_is_held_to_the_contract() -> None:
    assert MAKERS.keys() == GENERATORS.keys()


@pytest.fixture(params=MAKERS)
def generator(request: pytest.FixtureRequest) -> Generator:
    torch.manual_seed(0)
    return MAKERS[request.param]().eval()


class TestContract:
    @pytest.mark.parametrize("size", [(1, 1), (33, 47), (40, 56)])
    def test_keeps_size_and_type(self, generator: Generator, size: tuple[int, int]) -> None:
        images = np.stack([picture(0, *size), picture(1, *size)])
        made = regenerate(images, generator)
        assert made.shape == images.shape
        assert made.dtype == np.uint8

    def test_repeats_itself(self, generator: Generator) -> None:
        images = picture(0)[None]
        assert (regenerate(images, generator, 7) == regenerate(images, generator, 7)).all()

    def test_a_picture_does_not_depend_on_its_neighbours(self, generator: Generator) -> None:
        images = np.stack([picture(seed) for seed in range(3)])
        together = regenerate(images, generator, [5, 6, 7]).astype(int)
        alone = regenerate(images[1:2], generator, [6])[0].astype(int)
        assert abs(together[1] - alone).max() <= 1  # rounding of another batch size

    def test_bfloat16_stays_close(self, generator: Generator) -> None:
        images = picture(0)[None]
        exact = regenerate(images, generator).astype(int)
        assert abs(regenerate(images, generator, precision="bf16") - exact).mean() < 3


class TestRegenerate:
    @given(
        st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0)
    )
    def test_padding_is_cut_off_again(
        self, height: int, width: int, multiple: int, seed: int
    ) -> None:
        images = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
        assert (regenerate(images, Identity(multiple)) == images).all()

    def test_an_unknown_name_names_the_near_miss(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'taef2'"):
            load_generator("tafe2", "nowhere")

    def test_last_layer_stays_float32_under_autocast(self) -> None:
        layer = FullPrecisionConv2d(3, 3, 3, padding=1)
        x = torch.rand(1, 3, 8, 8)
        with torch.autocast("cpu", torch.bfloat16):
            low = layer(x.bfloat16())
        assert low.dtype == torch.float32
        assert torch.equal(low, layer(x.bfloat16().float()))


class TestTaef2:
    def test_published_layout(self) -> None:
        # the published files: 79 tensors each, numbered as one flat Sequential
        network = Taef2()
        encoder, decoder = network.encoder.state_dict(), network.decoder.state_dict()
        assert len(encoder) == len(decoder) == 79
        assert encoder["11.pool.0.weight"].shape == (256, 64, 1, 1)
        assert encoder["14.bias"].shape == (32,)
        assert decoder["1.weight"].shape == (64, 32, 3, 3)
        assert decoder["5.pool.1.bias"].shape == (256,)
        assert decoder["19.weight"].shape == (3, 64, 3, 3)

    def test_loads_half_precision_files(self, tmp_path: Path) -> None:
        network = Taef2()
        for half in ("encoder", "decoder"):
            torch.save(
                network.get_submodule(half).half().state_dict(), tmp_path / f"taef2_{half}.pth"
            )
        loaded = load_generator("taef2", str(tmp_path))
        assert torch.equal(loaded.encoder[0].weight, network.encoder[0].weight.float())

    def test_another_architecture_is_refused(self, tmp_path: Path) -> None:
        torch.save({"0.weight": torch.zeros(1)}, tmp_path / "taef2_encoder.pth")
        with pytest.raises(WeightsError, match=r"taef2_encoder\.pth does not fit.*Missing key"):
            load_generator("taef2", str(tmp_path))

    @pytest.mark.parametrize("content", [None, b"", b"no archive", b"\x80\x04."])
    def test_no_state_dict(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "taef2_encoder.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=r"taef2_encoder\.pth"):
            load_generator("taef2", str(tmp_path))

    def test_a_list_is_no_state_dict(self, tmp_path: Path) -> None:
        torch.save([1], tmp_path / "taef2_encoder.pth")
        with pytest.raises(WeightsError, match="holds a list"):
            load_generator("taef2", str(tmp_path))


class TestSuperResolution:
    def test_the_seed_chooses_the_kernel(self) -> None:
        rough = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        kinds = {tuple(_shrink(rough, 4, seed).flatten().tolist()) for seed in range(20)}
        assert len(kinds) == 3  # area, bicubic, bilinear

    def test_shrinking_stays_in_range(self) -> None:
        checkers = (torch.arange(256).view(1, 1, 16, 16) // 5 % 2).float().repeat(1, 3, 1, 1)
        for seed in range(10):
            small = _shrink(checkers, 2, seed)
            assert small.min() >= 0
            assert small.max() <= 1

    @pytest.mark.parametrize("as_folder", [True, False])
    def test_fast_srgan_sheds_the_compiler_prefix(self, tmp_path: Path, as_folder: bool) -> None:
        network = FastSrgan()
        state = {f"_orig_mod.{key}": value for key, value in network.state_dict().items()}
        torch.save(state, tmp_path / "model.pt")
        weights = tmp_path if as_folder else tmp_path / "model.pt"
        loaded = load_generator("fast_srgan", str(weights))
        assert loaded.multiple == 4
        assert torch.equal(loaded.upscaler.neck[0].weight, network.neck[0].weight)


def write_ncnn(network: Waifu2x, path: Path) -> bytes:
    """The layout of an ncnn file: flag, float16 weights (output channels first), float32 biases."""
    pairs = [(conv.weight, conv.bias) for conv in network.convs]
    pairs.append((network.up.weight.transpose(0, 1), network.up.bias))
    pieces = [
        b"\x47\x6b\x30\x01"
        + weight.detach().half().numpy().tobytes()
        + bias.detach().numpy().tobytes()
        for weight, bias in pairs
    ]
    path.write_bytes(b"".join(pieces))
    return path.read_bytes()


class TestWaifu2x:
    def test_reads_what_ncnn_stores(self, tmp_path: Path) -> None:
        network = Waifu2x()
        content = write_ncnn(network, tmp_path / "scale2.0x.bin")
        assert len(content) == 1_106_248  # as published
        loaded = build_waifu2x(str(tmp_path)).upscaler
        for name, tensor in network.state_dict().items():
            expected = tensor.half().float() if name.endswith("weight") else tensor
            assert torch.equal(loaded.state_dict()[name], expected), name

    def test_doubles_the_sides(self) -> None:
        assert Waifu2x()(torch.rand(1, 3, 8, 11)).shape == (1, 3, 16, 22)

    def test_misfits_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "model.bin"
        content = write_ncnn(Waifu2x(), path)
        for bad, reason in (
            (content[:-1], "ends 1 bytes too early"),
            (content + b"1234", "4 bytes too many"),
            (b"\0" * 4 + content[4:], "no float16 layer at byte 0"),
        ):
            path.write_bytes(bad)
            with pytest.raises(WeightsError, match=reason):
                build_waifu2x(str(path))

    def test_a_folder_must_hold_one_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="holds 0 files"):
            build_waifu2x(str(tmp_path))

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="cannot be read"):
            build_waifu2x(str(tmp_path / "none.bin"))


class TestSmallAutoencoder:
    @pytest.mark.parametrize("upsampling", UPSAMPLINGS)
    @pytest.mark.parametrize("factor", [2, 4, 8])
    @pytest.mark.parametrize("kernel", [3, 5])
    def test_every_upsampling(self, upsampling: str, factor: int, kernel: int) -> None:
        network = SmallAutoencoder(AutoencoderSpec(upsampling, factor, 4, width=4, kernel=kernel))
        x = torch.rand(2, 3, 24, 32)
        assert network.encoder(x).shape == (2, 4, 24 // factor, 32 // factor)
        assert network(x).shape == x.shape

    @pytest.mark.parametrize("norm", NORMS)
    def test_every_norm(self, norm: str) -> None:
        network = SmallAutoencoder(AutoencoderSpec("transposed", 4, 4, 4, kernel=4, norm=norm))
        assert network(torch.rand(2, 3, 16, 16)).shape == (2, 3, 16, 16)

    def test_encoder_holds_principal_components(self) -> None:
        torch.manual_seed(0)
        # blocks of 2x2 that are flat and grey, but for a faint red left column
        tones = torch.rand(1, 1, 16, 16).repeat_interleave(2, 2).repeat_interleave(2, 3)
        pixels = tones.repeat(1, 3, 1, 1)
        pixels[:, 0, :, ::2] += 0.01 * torch.randn(1, 32, 16)
        network = SmallAutoencoder(AutoencoderSpec("nearest", 2, 3, 4))
        network.fit_encoder(pixels)
        rows = F.normalize(network.encoder.weight.flatten(1))
        assert torch.allclose(rows @ rows.T, torch.eye(3), atol=1e-3)
        assert torch.allclose(rows[0].abs(), torch.full((12,), 12**-0.5), atol=1e-2)
        deviations = network.encoder(pixels - 0.5).square().mean((0, 2, 3))
        assert deviations[0] > deviations[1] > deviations[2]

    def test_presets_cover_every_upsampling_and_keep_some_for_tests(self) -> None:
        in_training = {n: s for n, s in AUTOENCODERS.items() if not n.startswith("reserved-")}
        assert {spec.upsampling for spec in in_training.values()} == UPSAMPLINGS.keys()
        assert {spec.factor for spec in in_training.values()} == {2, 4, 8}
        assert len(AUTOENCODERS) > len(in_training)
        for name, spec in AUTOENCODERS.items():
            assert SmallAutoencoder(spec, name).reserved == name.startswith("reserved-")

    def test_an_unknown_preset_names_the_near_miss(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'nearest-f8'"):
            make_spec("nearest-f9")

    def test_file_round_trip(self, tmp_path: Path) -> None:
        spec = AutoencoderSpec("pixel_shuffle", 2, 4, 4, norm="batch")
        network = SmallAutoencoder(spec, "reserved-mine").eval()
        save_autoencoder(network, tmp_path / "new" / "mine.pt", {"seed": 3})
        loaded = load_generator("autoencoder", str(tmp_path / "new" / "mine.pt"))
        assert (loaded.name, loaded.reserved, loaded.spec) == ("reserved-mine", True, spec)
        x = torch.rand(1, 3, 8, 8)
        assert torch.allclose(loaded(x, [0]), network(x, [0]), atol=1e-6)

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        torch.save({"state": {}}, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match="train-autoencoder"):
            load_generator("autoencoder", str(tmp_path / "other.pt"))


class TestTraining:
    schedule = Schedule(steps=120, batch_size=4, crop=16, learning_rate=1e-2)
    photographs = tuple(picture(seed) for seed in range(4))

    def train(self, seed: int, **losses: float) -> SmallAutoencoder:
        spec = AutoencoderSpec("nearest", 2, 4, width=4, **losses)
        return train_autoencoder(spec, "mine", self.photographs, self.schedule, seed)

    def test_learns(self) -> None:
        x = torch.from_numpy(picture(9).copy()).permute(2, 0, 1)[None] / 255
        untrained = SmallAutoencoder(AutoencoderSpec("nearest", 2, 4, width=4))
        before = (untrained(x) - x).abs().mean()
        assert (self.train(0)(x) - x).abs().mean() < 0.5 * before

    def test_the_seed_decides_the_weights(self) -> None:
        one, same, other = (self.train(seed).decoder[-1].weight for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    @pytest.mark.parametrize("loss", ["sharpness", "adversarial"])
    def test_each_loss_changes_the_network(self, loss: str) -> None:
        plain, other = self.train(1), self.train(1, **{loss: 0.5})
        assert not torch.equal(plain.decoder[-1].weight, other.decoder[-1].weight)


class TestDiffusers:
    def test_loads_a_local_folder(self, tmp_path: Path) -> None:
        tiny_vae().vae.save_pretrained(tmp_path / "vae")
        loaded = load_generator("diffusers", str(tmp_path / "vae"))
        assert loaded.multiple == 4
        assert loaded.name == "vae"

    def test_the_seed_draws_the_latents(self) -> None:
        torch.manual_seed(0)
        generator, images = tiny_vae().eval(), picture(0)[None]
        assert (regenerate(images, generator, 1) != regenerate(images, generator, 2)).any()

    @pytest.mark.filterwarnings("ignore::UserWarning")  # of the hub's own client
    def test_a_missing_folder_says_what_to_put_where(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"config\.json.*folder"):
            load_generator("diffusers", str(tmp_path / "none"))

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(UsageError, match="pip install diffusers"):
            load_generator("diffusers", "owner/model")

    def test_a_third_part_is_a_folder_of_the_repository(self, tmp_path: Path) -> None:
        assert _split_name("owner/model") == ("owner/model", None)
        assert _split_name("owner/model/vae") == ("owner/model", "vae")
        assert _split_name(str(tmp_path)) == (str(tmp_path), None)
