"""`python -m lamina`: what this build is and what it runs on."""

from lamina.config import show_config


def main() -> None:
    for key, value in show_config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key.replace('_', ' '):18} {text}")


if __name__ == "__main__":
    main()
