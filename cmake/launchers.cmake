# `ros2 run` and launch_ros look for executables in lib/<package>. The first line of a launcher
# names the interpreter that built the package, so that it starts from any environment. The kernel
# takes neither a space nor more than 127 characters there; then the shell starts the interpreter.
string(LENGTH "${Python3_EXECUTABLE}" INTERPRETER_LENGTH)
if(INTERPRETER_LENGTH GREATER 120 OR Python3_EXECUTABLE MATCHES " ")
  set(FIRST_LINES "#!/bin/sh\n'''exec' \"${Python3_EXECUTABLE}\" \"$0\" \"$@\"\n' '''")
else()
  set(FIRST_LINES "#!${Python3_EXECUTABLE}")
endif()

# install_launcher(<name> <module> <destination>): a program that calls <module>.main().
function(install_launcher NAME MODULE DESTINATION)
  configure_file(cmake/launcher.in "${CMAKE_CURRENT_BINARY_DIR}/launchers/${NAME}" @ONLY
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                     WORLD_READ WORLD_EXECUTE)
  install(PROGRAMS "${CMAKE_CURRENT_BINARY_DIR}/launchers/${NAME}" DESTINATION ${DESTINATION})
endfunction()
