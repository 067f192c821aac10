from lowlight_cli.cli import main

main()
